import pg from 'pg';
import { expect } from 'vitest';
import { test } from '../support/sql-test.js';
import { waitFor } from '../support/wait-for.js';

/**
 * What rings with p_ring. Two-phase commit refuses a transaction that has notified anybody, so without it
 * nothing may be sent on any path.
 */
const CALLS: Record<string, { before?: object[]; jobs: object }> = {
  'a plain job': { jobs: { queue: 'open', payload: 1 } },
  'many payloads': { jobs: { queue: 'open', payloads: [1, 2] } },
  'a member of a group': { jobs: { queue: 'open', payload: 1, group: 'g' } },
  'a job that is due soon': { jobs: { queue: 'open', payload: 1, delay_ms: 500 } },
  'a newer payload of a ready job': {
    before: [{ queue: 'open', payload: 1, dedupe: { key: 'ready', mode: 'throttle' } }],
    jobs: { queue: 'open', payload: 2, dedupe: { key: 'ready', mode: 'throttle' } },
  },
  'a new time of a scheduled job': {
    before: [
      { queue: 'open', payload: 1, delay_ms: 60_000, dedupe: { key: 'later', mode: 'replace' } },
    ],
    jobs: { queue: 'open', payload: 2, delay_ms: 500, dedupe: { key: 'later', mode: 'replace' } },
  },
  'the end of a job that is waited for': {
    before: [{ queue: 'narrow', payload: 'watched' }],
    jobs: { queue: 'narrow', payload: 'new', on_full: 'drop_oldest' },
  },
  'the end of a head, which lets its group go on': {
    before: [
      { queue: 'pair', payload: 'head', group: 'g' },
      { queue: 'pair', payload: 'next', group: 'g' },
    ],
    jobs: { queue: 'pair', payload: 'new', on_full: 'drop_oldest' },
  },
};

for (const [what, { before, jobs }] of Object.entries(CALLS)) {
  test(`p_ring: ${what}`, async ({ db, url }) => {
    await db.createQueue('open');
    await db.createQueue('narrow', { max_depth: 1 });
    await db.createQueue('pair', { max_depth: 2 });
    await db.createQueue('follows');
    const lease = await db.openLease();
    await db.rows('update howdah._leader set lease_id = $1, expires_at = howdah.clock() + $2', [
      lease,
      '1 minute',
    ]);
    const listener = new pg.Client(url);
    listener.on('error', () => undefined);
    await listener.connect();
    const heard: string[] = [];
    listener.on('notification', ({ payload = '' }) => heard.push(payload));
    /** What came up to now: notices come in the order of the commits. */
    const hear = async (): Promise<string[]> => {
      await db.rows('select pg_notify($1, $2)', [`howdah_${lease}`, 'so far']);
      await waitFor(() => heard.includes('so far'), { what: 'a notice' });
      return heard.splice(0).filter((payload) => payload !== 'so far');
    };
    await listener.query(`listen howdah_${lease}`);
    for (const isRinging of [false, true]) {
      for (const queue of ['narrow', 'pair']) {
        await db.rows(`select howdah.discard('{}')`);
        await db.rows(`select howdah.cancel_jobs(jsonb_build_object('queue', $1::text))`, [queue]);
      }
      const batch = await db.one(
        `select howdah.open_batch('{"on_complete": {"queue": "follows", "payload": 1}}')`,
      );
      const rows = before
        ? await db.enqueueRows(
            before.map((job) => ({ ...job, ...(what.startsWith('the end') && { batch }) })),
          )
        : [];
      await db.rows('select howdah.close_batch($1, true)', [batch]);
      await db.rows('select howdah.watch($1, $2)', [lease, rows.map(({ id }) => id)]);
      await db.rows('select howdah.sleep($1, $2)', [lease, ['open', 'pair', 'follows']]);
      await hear();
      await db.rows('select * from howdah.enqueue($1, $2, $3)', [
        JSON.stringify(jobs).replace('"g"', `"${isRinging}"`),
        'raise',
        isRinging,
      ]);
      if (isRinging) expect(await hear()).not.toEqual([]);
      else expect(await hear()).toEqual([]);
      await db.rows('select howdah.wake($1)', [lease]);
    }
    await listener.end();
    await db.expectTruth();
  });
}
