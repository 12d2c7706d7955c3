import { createClient, type WorkerEvent } from 'howdah';
import { expect, onTestFinished, vi } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, startWorker, waitForState } from '../support/workers.js';

/** What every loop asks for: time, chance, a timer. */
const SEAMS = [
  [performance, 'now'],
  [Math, 'random'],
  [globalThis, 'setTimeout'],
] as const;

/**
 * For a while every call of these that comes straight from one file of the package throws.
 * @returns how often that was
 */
function sabotage(file: string, times: number): () => number {
  let thrown = 0;
  const at = new RegExp(`/dist/(?:[\\w-]+/)*${file}\\.js:`);
  for (const [object, name] of SEAMS) {
    const real = (object as never)[name] as (...args: unknown[]) => unknown;
    const spy = vi.spyOn(object as unknown as Record<string, () => unknown>, name);
    spy.mockImplementation(((...args: unknown[]) => {
      const lines = thrown < times ? (new Error('stack').stack ?? '').split('\n') : [];
      const ours = lines.filter((line) => !line.includes('node_modules'));
      const caller = ours.find((line) => line.includes('/dist/') && !/clock|alarm/.test(line));
      if (caller && at.test(caller)) {
        thrown += 1;
        throw new Error(`sabotage of ${file}`);
      }
      return real.apply(object, args);
    }) as never);
    onTestFinished(() => void spy.mockRestore());
  }
  return () => thrown;
}

const LOOPS = [
  'worker/claim/claimer',
  'worker/settle/settler',
  'worker/settle/reporter',
  'worker/lease/keeper',
  'worker/run/control',
  'worker/run/runner',
  'worker/run/deadlines',
  'worker/engine',
  'worker/claim/strays',
  'worker/claim/quarantine',
  'maintenance/maintainer',
  'maintenance/leader',
  'maintenance/promoter',
  'db/connect/listener',
];

test.for(LOOPS)(
  'what throws in %s ends neither the process nor the work',
  {
    timeout: 60_000,
  },
  async (file, { url, pool }) => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', onUnhandled);
    onTestFinished(() => void process.off('unhandledRejection', onUnhandled));
    const policy = { backoff_ms: 10, timeout_ms: 20_000 };
    const [queue, other] = [await createQueue(pool, policy), await createQueue(pool, policy)];
    const { work } = await import('howdah');
    let mayEnd = false;
    const { events } = await startWorker({
      url,
      lease: '2s',
      poll: '100ms',
      queues: [
        work(queue, async ({ attempt, payload }, { log, progress, signal }) => {
          log.info('begun');
          progress(1);
          if (payload === 'patient')
            await waitFor(() => mayEnd || signal.aborted, { timeoutMs: 30_000 });
          if (attempt === 1) throw new Error('once more');
        }),
        work(other, () => 'fine'),
      ],
    });
    const thrown = sabotage(file.replace(/.*\//, ''), 5);
    const ids = await enqueue(
      pool,
      queue,
      Array.from({ length: 20 }, () => ({ payload: 'quick' })),
    );
    const cancelled = await enqueue(pool, queue, [{ payload: 'patient' }]);
    ids.push(...(await enqueue(pool, queue, [{ payload: 'quick', delay_ms: 200 }])));
    const client = createClient({ url });
    onTestFinished(() => client.close());
    if (file === 'worker/claim/strays' || file === 'worker/claim/quarantine')
      await crash(pool, other);
    await client.jobs.cancel(cancelled);
    mayEnd = true;
    for (const id of ids) await waitForState(pool, id, 'completed', 25_000);
    await waitForState(pool, cancelled[0], 'cancelled', 25_000);
    const [later] = await enqueue(pool, other);
    await waitForState(pool, later, 'completed');
    if (!/strays|quarantine/.test(file)) {
      await waitFor(() => thrown() > 0, { what: `${file} to be hit` });
      expect(reported(events)).not.toEqual([]);
    }
    expect(unhandled).toEqual([]);
  },
);

/** A job whose worker died is there to be run apart. */
async function crash(pool: import('pg').Pool, queue: string): Promise<void> {
  const { rows } = await pool.query(`select howdah.open_lease('dead', 30000) as id`);
  await enqueue(pool, queue);
  await pool.query('select howdah.claim($1, $2, 1)', [queue, rows[0].id]);
  await pool.query('update howdah._leases set expires_at = howdah.clock() where id = $1', [
    rows[0].id,
  ]);
}

function reported(events: readonly WorkerEvent[]): string[] {
  const types = ['part.threw', 'claim.failed', 'settle.failed', 'maintenance.failed', 'job.failed'];
  return events.map(({ type }) => type).filter((type) => types.includes(type));
}

test.for(['await/job-watcher', 'station/station', 'pull/pull-queue', 'station/shared-station'])(
  'what throws in client/%s does not end the process, and calls that wait are answered',
  { timeout: 60_000 },
  async (file, { url, pool }) => {
    const unhandled: unknown[] = [];
    const onUnhandled = (error: unknown): void => void unhandled.push(error);
    process.on('unhandledRejection', onUnhandled);
    onTestFinished(() => void process.off('unhandledRejection', onUnhandled));
    const queue = await createQueue(pool);
    const client = createClient({ url });
    onTestFinished(() => client.close());
    sabotage(file.replace(/.*\//, ''), 3);
    const handles = [await client.enqueue(queue, 1), await client.enqueue(queue, 2)];
    const results = handles.map((handle) => handle.result({ timeout: '20s' }));
    const seen: unknown[] = [];
    while (seen.length < 2) {
      const received = await client.receive(queue, { wait: '5s' }).catch(() => []);
      for (const job of received) seen.push(await job.complete(job.payload));
    }
    expect(await Promise.all(results)).toEqual([1, 2]);
    expect(unhandled).toEqual([]);
  },
);
