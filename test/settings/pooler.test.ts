import { migrate } from 'howdah';
import { describe } from 'vitest';
import { runCoreFlow } from '../support/core-flow.js';
import { test } from '../support/database.js';
import { PGBOUNCER, startPooler } from '../support/pooler.js';
import { SETTINGS, setAll } from '../support/settings.js';

if (!PGBOUNCER) console.log('[tests] no PgBouncer on this machine: flows through it are left out');

/** Many at once, for a flow takes seconds: all that do not contradict each other, and the others. */
const TOGETHER = [SETTINGS.filter((_, i) => i % 2 === 0), SETTINGS.filter((_, i) => i % 2 === 1)]
  .map((list): Readonly<Record<string, string>> => Object.assign({}, ...list))
  // so slow that time-outs of the flow would be met
  .map(({ enable_indexscan: _, jit: __, debug_parallel_query: ___, ...rest }) => rest);

/** Behind a pooler nothing can be pinned on a session: each statement brings along what it depends on. */
describe.runIf(PGBOUNCER)(
  'a job lives its whole life through PgBouncer in transaction mode',
  () => {
    for (const settings of TOGETHER) {
      for (const isDirect of [false, true]) {
        const { default_transaction_isolation: isolation, datestyle } = settings;
        const title = `${isolation}, DateStyle ${datestyle} and ${Object.keys(settings).length} more, ${isDirect ? 'workers beside it' : 'workers too'}`;
        test(title, { timeout: 60_000 }, async ({ createDatabase }) => {
          const directUrl = await createDatabase('empty');
          await setAll(directUrl, settings);
          const url = await startPooler(directUrl);
          await migrate({ url, directUrl });
          await runCoreFlow({ url, ...(isDirect && { directUrl }) });
        });
      }
    }
  },
);
