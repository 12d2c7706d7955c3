import { migrate } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { Engine } from '../support/engine.js';
import { startOwnServer } from '../support/own-server.js';

/** Policies of the queues that {@link CALLS} names. */
const QUEUES: Readonly<Record<string, object>> = {
  plain: {},
  bounded: { max_depth: 2 },
  paced: { group_rate_max: 100 },
  topical: {},
};

const job = (queue: string, more: object = {}) => ({ queue, payload: 1, ...more });

/**
 * What a call must not tell anybody of: each is made once before, with notifications, so that the second one meets what
 * the first one left.
 */
const CALLS: Readonly<Record<string, object>> = {
  'plain jobs': [job('plain'), job('plain')],
  'many payloads': { queue: 'plain', payloads: [1, 2, 3] },
  'a priority': [job('plain', { priority: 7 })],
  'a delay of no moment': [job('plain', { delay_ms: 1 })],
  'a job that expires': [job('plain', { ttl_ms: 60_000 })],
  'a group': [job('plain', { group: 'a' }), job('plain', { group: 'a' })],
  'a group with a rate': [job('paced', { group: 'a' }), job('paced', { group: 'b' })],
  ...Object.fromEntries(
    ['skip', 'replace', 'throttle', 'latest'].flatMap((mode) => [
      [`dedupe ${mode}`, [job('plain', { dedupe: { key: mode, mode } })]],
      [
        `dedupe ${mode}, delayed`,
        [job('plain', { delay_ms: 1, dedupe: { key: `${mode}-d`, mode } })],
      ],
      [
        `dedupe ${mode}, in a group`,
        [job('plain', { group: 'g', dedupe: { key: `${mode}-g`, mode } })],
      ],
    ]),
  ),
  'a full queue that drops its oldest': [
    job('bounded', { on_full: 'drop_oldest' }),
    job('bounded', { on_full: 'drop_oldest' }),
  ],
  'a full queue that drops members of a group': [
    job('bounded', { on_full: 'drop_oldest', group: 'x' }),
    job('bounded', { on_full: 'drop_oldest', group: 'y' }),
  ],
};

/** A server that takes part in two-phase commits, which refuse a transaction that has sent NOTIFY. */
async function connect(): Promise<Engine> {
  const server = await startOwnServer({ settings: { max_prepared_transactions: 5 } });
  await migrate({ url: server.url });
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  onTestFinished(() => client.end());
  return new Engine(client);
}

test('without notifications, every way of enqueueing takes part in a two-phase commit', {
  timeout: 60_000,
}, async () => {
  const db = await connect();
  for (const [name, policy] of Object.entries(QUEUES)) await db.createQueue(name, policy);
  await db.rows(`select howdah.subscribe('news', 'topical')`);
  // whoever could be told: a sleeper of each queue, a leader, somebody who awaits each job
  const lease = await db.openLease('listens');
  await db.rows(`select howdah.sleep($1, $2::text[])`, [lease, Object.keys(QUEUES)]);
  await db.rows('select * from howdah.lead($1, 60000)', [lease]);
  const batch = async () => {
    const id = await db.one<string>(
      `select howdah.open_batch('{"on_complete": {"queue": "plain", "payload": "end"}}')`,
    );
    await db.enqueueRows([job('bounded', { batch: id, on_full: 'drop_oldest' })]);
    await db.rows('select howdah.close_batch($1)', [id]);
  };
  const awaited = `select howdah.watch(${lease}, array(select id from howdah._jobs), array(select id from howdah._jobs))`;
  const ask = async (text: string, values: readonly unknown[], ring: boolean) => {
    await db.rows('begin');
    await db.rows(text, [...values, ring]);
    await db.rows(`prepare transaction 'p'`);
    await db.rows(`commit prepared 'p'`);
  };
  const asks = Object.entries(CALLS).map(
    ([what, jobs]) =>
      [
        what,
        `select * from howdah.enqueue($1::text::jsonb, 'raise', $2)`,
        [JSON.stringify(jobs)],
      ] as const,
  );
  asks.push([
    'publish',
    'select * from howdah.publish($1::text::jsonb, $2)',
    [JSON.stringify({ topic: 'news', payload: 1 })],
  ] as never);
  const told: string[] = [];
  for (const [what, text, values] of asks) {
    await db.rows(text, [...values, true]);
    await batch();
    await db.rows(awaited);
    // the same with notifications is refused, where it has somebody to tell
    const refused = await ask(text, values, true).catch((error: unknown) => error);
    await db.rows('rollback');
    if (refused) told.push(what);
    await expect(ask(text, values, false), what).resolves.toBeUndefined();
  }
  expect(told).toEqual(
    expect.arrayContaining([
      'plain jobs',
      'many payloads',
      'a priority',
      'a delay of no moment',
      'dedupe replace',
      'a full queue that drops its oldest',
      'publish',
    ]),
  );
  await db.expectTruth();
});
