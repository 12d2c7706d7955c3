import { expect } from 'vitest';
import { Random } from '../../torture/random.js';
import { ANY_SETUP, anyCall } from '../support/any-call.js';
import { RaceSession, test } from '../support/sessions.js';

const SEEDS = Number(process.env.HOWDAH_BOOKS_SEEDS ?? 3);
const CALLS = 240;
/** Calls between two looks: all books are read each time. */
const EVERY = Number(process.env.HOWDAH_BOOKS_EVERY ?? 6);
const BASE = process.env.HOWDAH_BOOKS_SEED ?? String(Date.now() % 2 ** 31);

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
    for (let i = 0; i < CALLS; i++) {
      const { name, text, values } = anyCall(random, { lease });
      const code = await db.rows(text, values).then(
        () => 'ok',
        (error: { code: string; message: string }) => {
          // bad input, and nothing else
          expect(error.code, `seed ${seed}, ${name}: ${error.message}`).toMatch(/^HW/);
          return error.code;
        },
      );
      tally[`${name} ${code === 'ok' ? 'ok' : 'refused'}`] =
        (tally[`${name} ${code === 'ok' ? 'ok' : 'refused'}`] ?? 0) + 1;
      since.push(`${name} ${code} ${JSON.stringify(values ?? text)}`);
      if (i % EVERY !== EVERY - 1) continue;
      await db.expectTruth().catch((error: Error) => {
        error.message = `seed ${seed}, after\n${since.join('\n')}\n${error.message}`;
        throw error;
      });
      since.length = 0;
    }
    await db.close();
  }
  // the lives were worth living
  for (const name of ['enqueue', 'settle', 'alter_queue', 'claim_many', 'edit_job', 'receive']) {
    expect(tally[`${name} ok`], name).toBeGreaterThan(0);
  }
});
