import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

/**
 * Halts a function of the engine where it has found a row and not locked it yet: it waits for an advisory lock
 * at the jobs that the table halts names. That is the moment in which another session changes the row.
 */
async function halting(db: Engine, name: string, find: RegExp): Promise<() => Promise<unknown>> {
  await db.rows('create table if not exists howdah.halts (id bigint)');
  await db.rows(`create or replace function howdah.halt(p_id bigint) returns boolean
    language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(4711) where exists (select from howdah.halts where id = p_id);
      return true;
    end $$`);
  const source = await db.one<string>(`select pg_get_functiondef('howdah.${name}'::regproc)`);
  const changed = source.replace(find, '$1 and howdah.halt(j.id) $2');
  expect(changed).not.toBe(source);
  await db.rows(changed);
  return () => db.rows(source);
}

const CALLS = ['claim', 'claim_many', 'receive'] as const;

describe('a job that another worker gives a new number while a claim is about to lock it', () => {
  for (const { kind, picker, policy } of [
    { kind: 'plain', picker: 'claim_many', policy: {} },
    { kind: 'limited', picker: '_pick_within', policy: { concurrency_max: 100 } },
  ]) {
    for (const call of CALLS) {
      test(`${kind} queue, ${call}(): the cursor stays at what was looked at`, async ({
        db,
        a,
        b,
      }) => {
        const queue = `${kind}-${call}`;
        await db.createQueue(queue, { backoff: 'fixed', backoff_ms: 0, ...policy });
        const ids = await db.enqueue(queue, 20);
        const [lease, other] = [await db.openLease(), await db.openLease('other')];
        const restore = await halting(
          db,
          picker,
          /(and j\.seq > [pv]_after and j\.lease_id is null)(\s+order by j\.seq limit v_limit)/,
        );
        await db.rows('insert into howdah.halts values ($1)', [ids[0]]);
        await a.rows('select pg_advisory_lock(4711)');
        const statement = {
          claim: `select seq from howdah.claim('${queue}', ${lease}, 3)`,
          claim_many: `select coalesce((c.rest -> u.id ->> 0)::bigint, u.id::bigint)::text as seq
            from howdah.claim_many('${queue}', ${lease}, 3) c,
            unnest(string_to_array(c.ids, ',')) u (id)`,
          receive: `select seq from howdah.receive('${queue}', 3)`,
        }[call];
        const [claimed] = await b.blocks((session) => session.rows<{ seq: string }>(statement));
        // as claim() would: it must not halt
        const [taken] = await db.rows<{ attempt: number }>(
          `with t as (update howdah._jobs set lease_id = $2, attempt = attempt + 1, claimed_at = howdah.clock()
             where id = $1 returning queue_id, attempt),
           m as (insert into howdah._lease_marks select $2, queue_id, 201, 0, 0, $1::bigint, howdah.clock() from t),
           c as (insert into howdah._counter_deltas (queue_id, ready, running) select queue_id, -1, 1 from t)
           select attempt from t`,
          [ids[0], other],
        );
        const ask = { id: ids[0], attempt: taken?.attempt, outcome: 'fail' };
        expect(await db.settle(other, ask)).toMatchObject([{ outcome: 'ready' }]);
        await a.rows('select pg_advisory_unlock(4711)');
        const seqs = (await claimed)?.map(({ seq }) => BigInt(seq)) ?? [];
        await restore();
        await db.rows('delete from howdah.halts');
        expect(seqs).toHaveLength(3);
        const moved = await db.one<string>('select seq from howdah._jobs where id = $1', [ids[0]]);
        expect(BigInt(moved)).toBeGreaterThan(BigInt(String(ids.at(-1))));
        const top = seqs.toSorted((x, y) => (x < y ? -1 : 1)).at(-1);
        expect(String(top)).toBe(ids[2]);
        expect(
          await db.one(
            `select max(m.seen_seq) from howdah._lease_marks m join howdah._queues q on q.id = m.queue_id
             where q.name = $1 and m.lease_id <> $2`,
            [queue, other],
          ),
        ).toBe(ids[2]);
        const next = await db.claim(queue, lease, 9, { 201: String(top) });
        expect(next[0]?.id).toBe(ids[3]);
        await db.expectTruth();
      });
    }
  }

  test('with payloads apart: each job comes with its own', async ({ db, a, b }) => {
    await db.createQueue('apart');
    const ids = await db.enqueue('apart', 3);
    const lease = await db.openLease();
    const restore = await halting(
      db,
      'claim_many',
      /(and j\.seq > v_after and j\.lease_id is null)(\s+order by j\.seq limit v_limit)/,
    );
    await db.rows('insert into howdah.halts values ($1)', [ids[0]]);
    await a.rows('select pg_advisory_lock(4711)');
    const [claimed] = await b.blocks((session) =>
      session.rows<{ ids: string | null; payloads: string | null }>(
        `select * from howdah.claim_many('apart', $1, 3, '{}', '{}', 1, 'apart')`,
        [lease],
      ),
    );
    await db.rows(`update howdah._jobs set seq = nextval('howdah.job_seq') where id = $1`, [
      ids[0],
    ]);
    await a.rows('select pg_advisory_unlock(4711)');
    const [lane, ...rows] = (await claimed) ?? [];
    await restore();
    await db.rows('delete from howdah.halts');
    const payloads = rows.map((row) => row.payloads);
    const mine = lane?.ids?.split(',').map((id) => String(ids.indexOf(id) + 1));
    expect(mine).toHaveLength(3);
    expect(payloads).toEqual(mine);
    await db.expectTruth();
  });

  test('alone: the cursor stays where it was', async ({ db, a, b }) => {
    await db.createQueue('alone');
    const ids = await db.enqueue('alone', 3);
    const lease = await db.openLease();
    const restore = await halting(
      db,
      'claim_many',
      /(and j\.seq > v_after and j\.lease_id is null)(\s+order by j\.seq limit v_limit)/,
    );
    await db.rows('insert into howdah.halts values ($1)', [ids[0]]);
    await a.rows('select pg_advisory_lock(4711)');
    const [claimed] = await b.blocks((session) => session.claim('alone', lease, 1));
    await db.rows(`update howdah._jobs set seq = nextval('howdah.job_seq') where id = $1`, [
      ids[0],
    ]);
    await a.rows('select pg_advisory_unlock(4711)');
    expect(await claimed).toMatchObject([{ id: ids[0], seq: '0' }]);
    await restore();
    await db.rows('delete from howdah.halts');
    await db.expectTruth(); // the marks of the lease cover its real number
    expect((await db.claim('alone', lease, 9, { 201: '0' })).map(({ id }) => id)).toEqual(
      ids.slice(1),
    );
  });
});

test('promote: a job with a new time does not carry the mark over those before it', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('later');
  const ids = await db.enqueue('later', 6, { delay_ms: 60_000 });
  await db.rows(
    `update howdah._jobs set run_at = howdah.clock() - interval '1 hour' + id * interval '1 s'
     where id = any ($1)`,
    [ids],
  );
  const restore = await halting(
    db,
    'promote',
    /(and j\.run_at > p_after and j\.run_at <= v_now)(\s+and \(j\.after_id)/,
  );
  await db.rows('insert into howdah.halts values ($1)', [ids[0]]);
  await a.rows('select pg_advisory_lock(4711)');
  const [promoted] = await b.blocks((session) => session.promote(3));
  await db.rows(`update howdah._jobs set run_at = howdah.clock() - interval '1 s' where id = $1`, [
    ids[0],
  ]);
  await a.rows('select pg_advisory_unlock(4711)');
  const { mark } = (await promoted) as { mark: string };
  await restore();
  await db.rows('delete from howdah.halts');
  expect(await db.promote(9, mark)).toMatchObject({ promoted: 3 });
  await db.expectTruth();
});
