import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

async function depth(db: Engine, queue: string): Promise<number> {
  return Number(
    await db.one('select w.depth from howdah._waiting_in(howdah._queue_id_of($1)) w', [queue]),
  );
}

describe('bounded queues', () => {
  test('what is not committed is not seen: two sessions overshoot by one statement', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('two', { max_depth: 10 });
    await a.begin();
    await a.enqueue('two', 10);
    expect(await b.enqueue('two', 10)).toHaveLength(10);
    await a.commit();
    expect(await depth(db, 'two')).toBe(20);
    await db.expectTruth();
  });

  test('64 unthrottled producers overshoot by less than their statements in flight', async ({
    db,
  }) => {
    const rows = 5;
    const bound = 100;
    await db.createQueue('many', { max_depth: bound });
    let accepted = 0;
    let refused = 0;
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        for (let i = 0; i < 5; i++) {
          const jobs = Array.from({ length: rows }, (_, n) => ({ queue: 'many', payload: n }));
          for (const { created } of await db.enqueueRows(jobs, 'report')) {
            if (created) accepted++;
            else refused++;
          }
        }
      }),
    );
    expect(accepted).toBeGreaterThanOrEqual(bound);
    expect(accepted).toBeLessThanOrEqual(bound + 63 * rows);
    expect(accepted + refused).toBe(64 * 5 * rows);
    expect(await depth(db, 'many')).toBe(accepted);
    await db.expectTruth();
  });

  test('producers that fold counters at once, and roll_up meanwhile, lose no count', async ({
    db,
  }) => {
    await db.createQueue('folds', { max_depth: 100_000 });
    await db.rows(`insert into howdah._counter_deltas (queue_id, bytes)
      select howdah._queue_id_of('folds'), 0 from generate_series(1, 2000)`);
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        i % 10 === 0 ? db.rows('select * from howdah.roll_up()') : db.enqueue('folds', 2),
      ),
    );
    expect(await depth(db, 'folds')).toBe(180);
    await db.expectTruth();
  });
});
