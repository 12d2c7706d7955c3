import { work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import {
  countdown,
  createQueue,
  enqueue,
  heard,
  startWorker,
  waitForState,
} from '../support/workers.js';

const OUTAGE_MS = 6_000;
/** Seen: 11 to 12, of all its connections; 30 when each tried for itself. */
const ATTEMPTS_MAX = 20;

/** Of all statements, with a lease that ends meanwhile. Seen: 22; 58 when each tried for itself. */
const REFUSALS_MAX = 35;

/** What PostgreSQL says where a disk is full, of any statement that would write. */
const DISK_FULL = `create table disk (is_full boolean not null);
  insert into disk values (false);
  create function no_room() returns trigger language plpgsql as $$ begin
    if (select is_full from public.disk) then raise exception 'No space left on device' using errcode = '53100'; end if;
    return null;
  end $$;`;
const WRITTEN = [
  '_jobs',
  '_leases',
  '_leader',
  '_history',
  '_counter_deltas',
  '_sleepers',
  '_lane_floors',
];

test('a worker does not besiege a server that is away, and is there when it is back', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const queue = await createQueue(pool);
  const made = await startWorker({ url: proxy.url, queues: [work(queue, () => undefined)] });
  await heard(made, 'maintenance.leading');
  proxy.refuse();
  proxy.cut();
  const before = proxy.attempts;
  const until = performance.now() + OUTAGE_MS;
  await waitFor(() => performance.now() > until, { timeoutMs: 2 * OUTAGE_MS, intervalMs: 50 });
  const attempts = proxy.attempts - before;
  expect(attempts).toBeGreaterThan(0);
  expect(attempts).toBeLessThanOrEqual(ATTEMPTS_MAX);
  proxy.refuse(false);
  const [now, later] = await enqueue(pool, queue, [{}, { delay_ms: 500 }]);
  await waitForState(pool, now, 'completed');
  await waitForState(pool, later, 'completed');
});

test('nor a server that has no room to write', { timeout: 60_000 }, async ({
  url,
  pool,
  schema,
}) => {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const guards = WRITTEN.map(
    (table) =>
      `create trigger room before insert or update or delete on ${schema}.${table} execute function no_room();`,
  );
  await pool.query(DISK_FULL + guards.join(''));
  const queue = await createQueue(pool);
  const { tick: open, done: gate } = countdown(1);
  const started = countdown(5);
  const handler = (): Promise<void> => {
    started.tick();
    return gate;
  };
  const made = await startWorker({
    url: proxy.url,
    lease: 3_000,
    heartbeat: 500,
    queues: [work(queue, handler, { concurrency: 5, prefetch: 0 })],
  });
  await heard(made, 'maintenance.leading');
  const ids = await enqueue(
    pool,
    queue,
    Array.from({ length: 20 }, () => ({})),
  );
  await started.done;
  await pool.query('update disk set is_full = true');
  open();
  const before = proxy.errors;
  await heard(made, 'lease.lost');
  const until = performance.now() + OUTAGE_MS;
  await waitFor(() => performance.now() > until, { timeoutMs: 2 * OUTAGE_MS, intervalMs: 50 });
  const refusals = proxy.errors - before;
  await pool.query('update disk set is_full = false');
  for (const id of ids) await waitForState(pool, id, 'completed');
  expect(refusals).toBeGreaterThan(3);
  expect(refusals).toBeLessThanOrEqual(REFUSALS_MAX);
});
