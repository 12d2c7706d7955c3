import { work } from 'howdah';
import type pg from 'pg';
import { onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker } from '../support/workers.js';

/** Something that is there and not due: whoever asks for it without a pause would ask for ever. */
interface Waiting {
  readonly policy?: object;
  prepare(pool: pg.Pool, queue: string): Promise<unknown>;
}

const HOUR_MS = 3_600_000;
const AT_A_TIME = { delay_ms: HOUR_MS };

const WAITING: readonly Waiting[] = [
  // nothing
  { prepare: async () => undefined },
  {
    // a job that is due in an hour
    prepare: (pool, queue) => enqueue(pool, queue, [AT_A_TIME]),
  },
  {
    // a job whose waiting TTL ends in an hour, in a paused queue
    async prepare(pool, queue) {
      await pool.query('select howdah.pause_queue($1)', [queue]);
      await enqueue(pool, queue, [{ ttl_ms: HOUR_MS }]);
    },
  },
  {
    // a queue that is paused for an hour
    async prepare(pool, queue) {
      await pool.query(
        "select howdah.pause_queue($1, 'test', clock_timestamp() + interval '1 hour')",
        [queue],
      );
      await enqueue(pool, queue);
    },
  },
  {
    // a concurrency limit that another holds for an hour
    policy: { concurrency_max: 1 },
    async prepare(pool, queue) {
      await enqueue(pool, queue, [{}, {}]);
      await pool.query(
        `select from howdah.claim_many($1, howdah.open_lease('another', ${HOUR_MS}), 1)`,
        [queue],
      );
    },
  },
  {
    // a rate of one an hour that is used up
    policy: { rate_max: 1, rate_ms: HOUR_MS, rate_burst: 1 },
    prepare: (pool, queue) => enqueue(pool, queue, [{}, {}, {}]),
  },
  {
    // a circuit that is open for an hour
    policy: { breaker_failures: 1 },
    async prepare(pool, queue) {
      await pool.query(
        "select howdah.set_circuit($1, 'open', 'test', clock_timestamp() + interval '1 hour')",
        [queue],
      );
      await enqueue(pool, queue);
    },
  },
  {
    // a group whose head waits an hour
    prepare: (pool, queue) =>
      enqueue(pool, queue, [{ group: 'a', ...AT_A_TIME }, { group: 'a' }, { group: 'a' }]),
  },
  {
    // a dead job
    policy: { max_attempts: 1 },
    prepare: (pool, queue) => enqueue(pool, queue, [{ payload: { fail: true } }]),
  },
  {
    // a schedule that is due next year at the latest
    prepare: (pool, queue) =>
      pool.query('select howdah.put_schedule($1, $2::text::jsonb)', [
        `of-${queue}`,
        JSON.stringify({ cron: '0 0 29 2 *', queue }),
      ]),
  },
];

const WINDOW_MS = 2_000;
/** Of a worker with all of these queues. Seen: 35; one duty that asks without a pause makes 100 at least. */
const REQUESTS_MAX = 70;

function handler({ payload }: { readonly payload: unknown }): void {
  if ((payload as { fail?: boolean }).fail) throw new Error('as told');
}

test('a worker asks for what waits no more often than for nothing', async ({ url, pool }) => {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const names = await Promise.all(
    WAITING.map(async ({ policy, prepare }) => {
      const name = await createQueue(pool, policy);
      await prepare(pool, name);
      return name;
    }),
  );
  const made = await startWorker({
    url: proxy.url,
    queues: names.map((name) => work(name, handler)),
  });
  await heard(made, 'maintenance.leading');
  const seen: number[] = [];
  const isQuiet = async (): Promise<boolean> => {
    const before = proxy.requests;
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
    seen.push(proxy.requests - before);
    return seen.length > 1 && seen.slice(-2).every((requests) => requests <= REQUESTS_MAX);
  };
  await waitFor(isQuiet, { timeoutMs: 15_000 }).catch((cause) => {
    throw new Error(`requests in each ${WINDOW_MS} ms: ${seen.join()}`, { cause });
  });
});
