import { migrate } from 'howdah';
import pg from 'pg';
import { describe, onTestFinished } from 'vitest';
import { runCoreFlow } from '../support/core-flow.js';
import { test } from '../support/database.js';
import { SETTINGS, setAll, TIGHT } from '../support/settings.js';

describe('a job lives its whole life', () => {
  for (const settings of [...SETTINGS, TIGHT]) {
    const title = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
    test(`with ${title.join(', ')}`, async ({ createDatabase }) => {
      const url = await createDatabase('empty');
      await setAll(url, settings);
      await migrate({ url });
      await runCoreFlow({ url });
    }, 60_000);
  }

  test('with a pool of the application, whose sessions it has shaped', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const pool = new pg.Pool({
      connectionString: url,
      max: 4,
      options:
        '-c default_transaction_isolation=serializable -c datestyle=SQL,DMY -c timezone=Asia/Shanghai -c extra_float_digits=-15 -c standard_conforming_strings=off',
    });
    onTestFinished(() => pool.end());
    await runCoreFlow({ url, pool });
  });
});
