import type pg from 'pg';
import { expect } from 'vitest';
import { Random } from '../../torture/random.js';
import { ANY_SETUP, anyCall } from '../support/any-call.js';
import { RaceSession, test } from '../support/sessions.js';

const SEEDS = Number(process.env.HOWDAH_BOOKS_SEEDS ?? 3);
const CALLS = 240;
/** Calls between two looks: all books are read each time. */
const EVERY = Number(process.env.HOWDAH_BOOKS_EVERY ?? 6);
/** What waits for the open transaction gives up then. */
const PATIENCE_MS = 30;
const BASE = process.env.HOWDAH_BOOKS_SEED ?? String(Date.now() % 2 ** 31);

/** A session in which one call was made whose transaction stays open while others are made elsewhere. */
class OpenTransaction {
  static readonly ends: Record<string, number> = {};
  #callsLeft = 0;

  private constructor(readonly session: RaceSession) {}

  static async open(url: string, pool: pg.Pool): Promise<OpenTransaction> {
    const session = await RaceSession.open(url, pool);
    await session.rows(`set lock_timeout = '${PATIENCE_MS}ms'`);
    return new OpenTransaction(session);
  }

  get isOpen(): boolean {
    return this.#callsLeft > 0;
  }

  /** Before a call of the others: begins now and then, and ends some calls later. @returns what it did */
  async turn(random: Random, lease: string): Promise<string[]> {
    if (this.isOpen) {
      this.#callsLeft -= 1;
      return this.isOpen ? [] : [await this.#end(random.pick(['commit', 'rollback']))];
    }
    if (!random.chance(0.15)) return [];
    const { name, text, values } = anyCall(random, { lease });
    await this.session.begin();
    try {
      await this.session.rows(text, values);
      this.#callsLeft = 1 + random.int(0, 7);
      return [`begin; ${name} ${JSON.stringify(values ?? text)}`];
    } catch {
      await this.session.rollback();
      return [];
    }
  }

  async #end(how: 'commit' | 'rollback'): Promise<string> {
    await this.session[how]();
    OpenTransaction.ends[how] = (OpenTransaction.ends[how] ?? 0) + 1;
    return how;
  }

  async close(): Promise<void> {
    if (this.isOpen) await this.session.rollback();
    await this.session.close();
  }
}

/**
 * No edit and no enqueue on its key makes a job wait longer than it was given: a minute from when it is due, which
 * is a minute ahead at most. What run_now() has brought forwards keeps its end.
 */
const TOO_LONG = `select j.id, j.expires_at, j.run_at, j.enqueued_at from howdah._jobs j
  where j.attempt = 0 and j.dead_at is null
    and j.expires_at > greatest(j.run_at, j.enqueued_at) + interval '120.1 seconds'`;

async function expectTruth(db: RaceSession): Promise<void> {
  await db.expectTruth();
  expect(await db.rows(TOO_LONG)).toEqual([]);
}

test(`whatever is called, and whatever a queue is asked to become, the books are right (seed ${BASE})`, {
  timeout: 300_000,
}, async ({ createDatabase, pool }) => {
  const tally: Record<string, number> = {};
  for (let n = 0; n < SEEDS; n++) {
    const seed = `${BASE}/${n}`;
    const random = new Random(seed);
    const url = await createDatabase('migrated');
    const db = await RaceSession.open(url, pool);
    await db.rows('select setseed($1)', [random.next()]);
    await db.rows(ANY_SETUP);
    const lease = await db.openLease('any', 600_000);
    await db.rows('select howdah.sleep($1, $2)', [lease, ['any-a']]);
    const since: string[] = [];
    const beside = await OpenTransaction.open(url, pool);
    await db.rows(`set lock_timeout = '${PATIENCE_MS}ms'`);
    for (let i = 0; i < CALLS; i++) {
      since.push(...(await beside.turn(random, lease)));
      const { name, text, values } = anyCall(random, { lease });
      const code = await db.rows(text, values).then(
        () => 'ok',
        (error: { code: string; message: string }) => {
          // bad input, or what the open transaction holds, and nothing else
          const allowed = beside.isOpen ? /^(HW|55P03)/ : /^HW/;
          expect(error.code, `seed ${seed}, ${name}: ${error.message}`).toMatch(allowed);
          return error.code;
        },
      );
      tally[`${name} ${code === 'ok' ? 'ok' : 'refused'}`] =
        (tally[`${name} ${code === 'ok' ? 'ok' : 'refused'}`] ?? 0) + 1;
      since.push(`${name} ${code} ${JSON.stringify(values ?? text)}`);
      if (i % EVERY !== EVERY - 1 || beside.isOpen) continue;
      await db.promote(); // folds what was left because it was held
      // what it did to a queue that had no bound yet, and has one now, is in its depth with the next roll-up
      if (since.includes('commit')) await db.rows('select howdah.roll_up()');
      await expectTruth(db).catch((error: Error) => {
        error.message = `seed ${seed}, after\n${since.join('\n')}\n${error.message}`;
        throw error;
      });
      since.length = 0;
    }
    await beside.close();
    await db.close();
  }
  for (const end of ['commit', 'rollback'])
    expect(OpenTransaction.ends[end], end).toBeGreaterThan(0);
  // the lives were worth living
  for (const name of ['enqueue', 'settle', 'alter_queue', 'claim_many', 'edit_job', 'receive']) {
    expect(tally[`${name} ok`], name).toBeGreaterThan(0);
  }
});
