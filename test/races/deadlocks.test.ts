import { expect } from 'vitest';
import { Random } from '../../torture/random.js';
import { ANY_SETUP, anyCall } from '../support/any-call.js';
import { RaceSession, test } from '../support/sessions.js';

const BASE = process.env.HOWDAH_DEADLOCKS_SEED ?? String(Date.now() % 2 ** 31);
const CALLS = Number(process.env.HOWDAH_DEADLOCKS_CALLS ?? 150);
const SESSIONS = 8;

/** Every row that is locked takes a moment, so that calls meet in the middle of each other. */
const SLOWLY = `
  create function howdah.tarry() returns trigger language plpgsql as $$ begin
    if random() < 0.5 then perform pg_sleep(random() * 0.01); end if;
    return coalesce(new, old);
  end $$;
  do $$ declare t text; begin
    foreach t in array '{_jobs,_groups,_dedupes,_queues,_limits,_leases,_batches,_schedules}'::text[] loop
      execute format('create trigger tarry before insert or update or delete on howdah.%I
        for each row execute function howdah.tarry()', t);
    end loop;
  end $$;`;

test(`calls of any public functions at once never wait for each other in a circle (seed ${BASE})`, {
  timeout: 300_000,
}, async ({ url, pool, db }) => {
  await db.rows(ANY_SETUP);
  await db.rows(SLOWLY);
  const deadlocks: string[] = [];
  const others: string[] = [];
  const done: Record<string, number> = {};
  await Promise.all(
    Array.from({ length: SESSIONS }, async (_, n) => {
      const random = new Random(`${BASE}/${n}`);
      const session = await RaceSession.open(url, pool);
      await session.rows(`set deadlock_timeout = '50ms'`);
      const lease = await session.openLease(`any-${n}`, 600_000);
      await session.rows('select howdah.sleep($1, $2)', [lease, ['any-a', 'any-b']]);
      for (let i = 0; i < CALLS; i++) {
        const { name, text, values } = anyCall(random, { lease });
        // a closed queue, or one without room, would end most calls at once
        if (name === 'close_queue') continue;
        try {
          await session.rows(text, values);
          done[name] = (done[name] ?? 0) + 1;
        } catch (error) {
          const { code, message, detail, where } = error as Record<string, string>;
          const said = `${name}: ${code} ${message} ${detail ?? ''} ${where ?? ''}`;
          if (code === '40P01') deadlocks.push(said);
          else if (!/^HW|^40001$/.test(code ?? '')) others.push(said);
        }
      }
      await session.close();
    }),
  );
  expect(deadlocks).toEqual([]);
  expect(others).toEqual([]);
  for (const name of ['enqueue', 'settle', 'complete_many', 'cancel', 'edit_job', 'redrive']) {
    expect(done[name], name).toBeGreaterThan(0);
  }
  await db.expectTruth();
});
