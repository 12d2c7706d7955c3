import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const MAX = 67_108_864;

interface Answer {
  readonly ids: string[];
  /** Of payloads and of what jobs have besides, as text. */
  readonly bytes: number;
  readonly again: number | null | undefined;
}

async function claim(db: Engine, queue: string, lease: string, how: string): Promise<Answer> {
  const rows = await db.rows<{ ids: string | null; bytes: string; rest: { again_ms?: number } }>(
    `select ids, coalesce(octet_length(payloads), 0) + coalesce(octet_length(rest::text), 0) as bytes,
       case when lane is null then rest end as rest
     from howdah.claim_many($1, $2, 10, '{}', '{}', 1, $3)`,
    [queue, lease, how],
  );
  return {
    ids: rows.flatMap(({ ids }) => ids?.split(',') ?? []),
    bytes: rows.reduce((sum, { bytes }) => sum + Number(bytes), 0),
    again: rows.find(({ ids, rest }) => ids === null && rest)?.rest.again_ms,
  };
}

describe('a claim takes what fits into one answer as text', { timeout: 120_000 }, () => {
  for (const how of ['together', 'apart']) {
    test(`payloads, ${how}; the next begins where it ended, one too large comes alone`, async ({
      db,
    }) => {
      await db.createQueue(how);
      const ids = await db.enqueue(how, 4);
      await db.rows('alter table howdah._jobs alter payload set storage external');
      await db.rows(
        `update howdah._jobs set payload = to_jsonb(repeat('x', $2 - 1000000 * (id = $1::bigint)::int))
         where id = any ($3::bigint[])`,
        [ids[0], 25_000_000, ids.slice(0, 3)],
      );
      const lease = await db.openLease();
      const first = await claim(db, how, lease, how);
      expect(first).toMatchObject({ ids: ids.slice(0, 2), again: 0 });
      expect(first.bytes).toBeLessThanOrEqual(MAX);
      await db.rows(
        `update howdah._jobs set payload = to_jsonb(repeat('x', 70000000)) where id = $1`,
        [ids[2]],
      );
      expect(await claim(db, how, lease, how)).toMatchObject({ ids: [ids[2]], again: 0 });
      expect(await claim(db, how, lease, how)).toMatchObject({ ids: [ids[3]], again: undefined });
      await db.expectTruth();
    });
  }

  for (const policy of [{}, { concurrency_max: 100 }]) {
    const queue = 'concurrency_max' in policy ? 'hidden-limited' : 'hidden';
    test(`errors that hide long numbers, ${queue}`, async ({ db }) => {
      await db.createQueue(queue, policy);
      const ids = await db.enqueue(queue, 3);
      // 131 KB each as text, some bytes in the table
      await db.rows(
        `update howdah._jobs set attempt = 1, uncounted = 1, errors = (
           select jsonb_build_array(jsonb_build_object('message', 'x', 'n', jsonb_agg(1e131071::numeric)))
           from generate_series(1, 220)) where id = any ($1)`,
        [ids],
      );
      const lease = await db.openLease();
      const names = async () =>
        (
          await db.rows<{ ids: string }>(
            `select ids from howdah.claim_many('${queue}', ${lease}, 10) where ids is not null`,
          )
        ).map((row) => row.ids);
      expect(await names()).toEqual([ids.slice(0, 2).join()]);
      expect(await names()).toEqual([ids[2]]);
      await db.expectTruth();
    });
  }

  test('nothing of lower priority overtakes what did not fit', async ({ db }) => {
    await db.createQueue('order', { payload_bytes_max: MAX });
    for (const priority of [3, 3, 2, 1]) {
      await db.rows(
        `select howdah.enqueue(jsonb_build_object('queue', 'order', 'priority', $1::int,
           'payload', repeat('x', case $1::int when 1 then 10 else 25000000 end)))`,
        [priority],
      );
    }
    const lease = await db.openLease();
    expect((await claim(db, 'order', lease, 'together')).ids).toHaveLength(2);
    expect((await claim(db, 'order', lease, 'together')).ids).toHaveLength(2);
    await db.expectTruth();
  });
});
