import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const PRIORITIES = Array.from({ length: 201 }, (_, i) => i - 100);

/** Pages that a statement looks at, when it runs the second time. */
async function pagesOf(db: Engine, statement: string): Promise<number> {
  let pages = 0;
  for (let n = 0; n < 2; n++) {
    const [{ 'QUERY PLAN': plan } = {}] = await db.rows<Record<string, unknown>>(
      `explain (analyze, buffers, format json) ${statement}`,
    );
    const [{ Plan: node }] = plan as [{ Plan: Record<string, number> }];
    pages = (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0);
  }
  return pages;
}

/** One job of every priority. */
function enqueueAll(db: Engine, queue: string): Promise<unknown> {
  return db.enqueueRows(PRIORITIES.map((priority) => ({ queue, payload: priority, priority })));
}

describe('lanes', () => {
  test('are served in order, whoever has cursors in which of them', async ({ db }) => {
    await db.createQueue('order');
    const lease = await db.openLease();
    await enqueueAll(db, 'order');
    const first = await db.claim('order', lease, 50);
    const cursors = Object.fromEntries(first.map(({ lane, seq }) => [lane, seq]));
    const rest = await db.claim('order', lease, 500, cursors);
    const payloads = [...first, ...rest].map(({ payload }) => payload);
    expect(payloads).toEqual(PRIORITIES.toReversed());
    // the head of each lane comes before it
    for (const { id, attempt } of rest) await db.settle(lease, { id, attempt, outcome: 'release' });
    await db.enqueue('order', 2, { priority: 3 });
    const all = Object.fromEntries([...first, ...rest].map(({ lane, seq }) => [lane, seq]));
    const again = await db.claim('order', lease, 500, all);
    expect(again.map(({ lane }) => lane)).toEqual(
      again.map(({ lane }) => lane).toSorted((x, y) => x - y),
    );
    expect(again).toHaveLength(rest.length + 2);
    await db.expectTruth();
  });

  test('that were used once cost nothing later', async ({ db }) => {
    await db.createQueue('few');
    await db.createQueue('many');
    const lease = await db.openLease();
    await db.enqueue('few', 1);
    await enqueueAll(db, 'many');
    for (const queue of ['few', 'many']) {
      const jobs = await db.claim(queue, lease, 500);
      await db.settle(
        lease,
        ...jobs.map(({ id, attempt }) => ({ id, attempt, outcome: 'release' })),
      );
      await db.complete(lease, await db.claim(queue, lease, 500));
    }
    await db.rows('vacuum howdah._jobs');
    for (const call of [
      (queue: string) => `select * from howdah.claim_many('${queue}', ${lease}, 10)`,
      (queue: string) => `select * from howdah.receive('${queue}')`,
    ]) {
      const few = await pagesOf(db, call('few'));
      expect(await pagesOf(db, call('many'))).toBeLessThanOrEqual(few + 10);
    }
  });

  test('an empty claim writes nothing', async ({ pool, db }) => {
    await db.createQueue('empty');
    const lease = await db.openLease();
    const session = await pool.connect();
    await session.query('begin');
    await session.query(`select * from howdah.claim_many('empty', $1, 10)`, [lease]);
    const { rows } = await session.query('select pg_current_xact_id_if_assigned() as xact');
    await session.query('commit');
    session.release();
    expect(rows).toEqual([{ xact: null }]);
  });

  test('how far a claim had come in an empty lane is told to the sweep', async ({ db }) => {
    await db.createQueue('told');
    const lease = await db.openLease();
    await db.enqueue('told', 5);
    await db.enqueue('told', 5, { priority: 1 });
    const jobs = await db.claim('told', lease, 10);
    await db.complete(lease, jobs);
    const cursors = Object.fromEntries(jobs.map(({ lane, seq }) => [lane, seq]));
    await db.rows(
      `update howdah._lease_marks set seen_seq = 0, marked_at = marked_at - interval '2 s'
      where lease_id = $1`,
      [lease],
    );
    await db.claim('told', lease, 1, cursors);
    expect(
      await db.rows(
        'select lane, seen_seq from howdah._lease_marks where lease_id = $1 order by lane desc',
        [lease],
      ),
    ).toEqual(
      Object.entries(cursors)
        .map(([lane, seq]) => ({ lane: Number(lane), seen_seq: seq }))
        .toReversed(),
    );
  });
});
