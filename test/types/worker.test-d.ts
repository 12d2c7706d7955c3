// Compiled, never run: what the types of a worker accept and refuse.
import { createWorker, defineConfig, queue, retry, snooze, work } from 'howdah';
import { z } from 'zod';

const email = queue('email', {
  schema: z.object({ to: z.email(), sendAt: z.coerce.date().optional() }),
});
const plain = queue<{ id: number; at: Date }>('plain');

// the handler gets what the schema returns, or what JSON makes of the declared type
const bindings = [
  work(email, ({ payload, attempt }, { signal, log }) => {
    const to: string = payload.to;
    const sendAt: Date | undefined = payload.sendAt;
    log.info(`${to} ${attempt} ${sendAt?.getTime()} ${signal.aborted}`);
    return { messageId: to };
  }),
  work(plain, async ({ payload }) => {
    const at: string = payload.at;
    return at === '' ? snooze('5m') : retry('10s', payload.id.toFixed());
  }),
  work('by-name', async ({ payload }) => String(payload), { concurrency: 20, prefetch: 5 }),
  work(plain, (jobs) => jobs.map(({ payload }) => (payload.id > 0 ? undefined : new Error('no'))), {
    batch: { size: 100, wait: '50ms' },
  }),
  work(
    plain,
    async ({ payload }, { tx, signal }) => {
      const { rows } = await tx.query<{ n: number }>('select 1 as n', [payload.id]);
      return signal.aborted ? snooze('1m') : { n: rows[0]?.n ?? 0 };
    },
    { transactional: true, concurrency: 4 },
  ),
  work(plain, async (jobs) => new Map(jobs.map(({ id }) => [id, { done: true }])), {
    batch: { size: 10 },
  }),
  work(plain, { file: new URL('./handler.js', import.meta.url), threads: 2 }, { prefetch: 1 }),
  work('by-name', { file: './handler.js', processes: 2, memoryMb: 256 }),
];

createWorker({ url: '', queues: bindings, lease: '30s', heartbeat: 10_000 }).on(
  'job.failed',
  ({ job, error, runAt }) => `${job.id} ${error?.message} ${runAt?.getTime()}`,
);
export default defineConfig({ connection: process.env.DATABASE_URL ?? '', queues: bindings });

// @ts-expect-error a result is JSON
work(plain, async () => new Map());
// @ts-expect-error the payload of the schema has no such property
work(email, ({ payload }) => payload.too);
// @ts-expect-error a Date has become text on its way through JSON
work(plain, ({ payload }) => payload.at.getTime());
// @ts-expect-error without `batch` a handler gets one job
work(plain, (jobs) => jobs.length);
// @ts-expect-error without `transactional` there is no transaction
work(plain, (_job, { tx }) => tx.query('select 1').then(() => undefined));
// @ts-expect-error a transactional handler takes one job
work(plain, () => undefined, { transactional: true, batch: { size: 2 } });
// @ts-expect-error not a duration
createWorker({ queues: bindings, lease: '30 parsecs' });
// @ts-expect-error no such option
createWorker({ queues: bindings, leese: '30s' });
// @ts-expect-error threads say how many run at once
work(plain, { file: './handler.js' }, { concurrency: 3 });
// @ts-expect-error no such option
work(plain, { file: './handler.js', thread: 1 });
