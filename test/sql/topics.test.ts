import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

let topics = 0;

/** A new topic with that many queues that are subscribed. */
async function topicWith(db: Engine, count: number) {
  topics += 1;
  const topic = `topic-${topics}`;
  const queues = Array.from({ length: count }, (_, n) => `${topic}/${n}`);
  for (const queue of queues) {
    await db.createQueue(queue);
    await subscribe(db, topic, queue);
  }
  return { topic, queues };
}

const subscribe = (db: Engine, topic: string | null, queue: string) =>
  db.one<boolean>('select howdah.subscribe($1, $2)', [topic, queue]);
const unsubscribe = (db: Engine, topic: string, queue: string) =>
  db.one<boolean>('select howdah.unsubscribe($1, $2)', [topic, queue]);
const publish = (db: Engine, job: unknown) =>
  db.rows('select * from howdah.publish($1::text::jsonb)', [JSON.stringify(job)]);

describe('a topic', () => {
  test('brings a job to each queue that is subscribed', async ({ db }) => {
    const { topic, queues } = await topicWith(db, 3);
    const rows = await publish(db, { topic, payload: { n: 1 }, priority: 5, headers: { a: 1 } });
    expect(rows).toEqual(queues.map((queue) => ({ queue, id: expect.any(String), created: true })));
    for (const { id, queue } of rows) {
      expect(await db.job(String(id))).toMatchObject({
        queue,
        priority: 5,
        payload: { n: 1 },
        headers: { a: 1, 'howdah-topic': topic },
      });
    }
    await db.expectTruth();
  });

  test('may have no subscriber', async ({ db }) => {
    expect(await publish(db, { topic: 'nobody', payload: null })).toEqual([]);
  });

  test('is subscribed once, listed, and left', async ({ db }) => {
    const { topic, queues } = await topicWith(db, 2);
    const [first, second] = queues as [string, string];
    expect(await subscribe(db, topic, first)).toBe(false);
    const list = () => db.rows('select topic, queue from howdah.topics where topic = $1', [topic]);
    expect(await list()).toEqual(queues.map((queue) => ({ topic, queue })));
    expect(await unsubscribe(db, topic, first)).toBe(true);
    expect(await unsubscribe(db, topic, first)).toBe(false);
    expect(await publish(db, { topic, payload: 1 })).toMatchObject([{ queue: second }]);
  });

  test('forgets a queue that is deleted', async ({ db }) => {
    const { topic, queues } = await topicWith(db, 2);
    const [first, second] = queues as [string, string];
    await db.rows('select howdah.delete_queue($1)', [first]);
    expect(await publish(db, { topic, payload: 1 })).toMatchObject([{ queue: second }]);
    await db.createQueue(first);
    expect(await publish(db, { topic, payload: 1 })).toMatchObject([{ queue: second }]);
    expect(await subscribe(db, topic, first)).toBe(true);
    expect(await publish(db, { topic, payload: 1 })).toHaveLength(2);
  });

  test('reaches all of its queues or none', async ({ db }) => {
    const { topic, queues } = await topicWith(db, 2);
    await db.rows('select howdah.close_queue($1)', [queues[1]]);
    expect(await sqlError(publish(db, { topic, payload: 1 }))).toMatchObject({ code: 'HW041' });
    expect(await db.stats(String(queues[0]))).toMatchObject({ enqueued: '0' });
    await db.expectTruth();
  });

  test('takes a dedupe key, which is one a queue, and a batch', async ({ db }) => {
    const { topic } = await topicWith(db, 2);
    const batch = await db.one('select howdah.open_batch()');
    const job = { topic, payload: 1, dedupe: { key: 'k' }, batch };
    expect((await publish(db, job)).map(({ created }) => created)).toEqual([true, true]);
    expect((await publish(db, job)).map(({ created }) => created)).toEqual([false, false]);
    expect(await db.rows('select total from howdah.batches where id = $1', [batch])).toEqual([
      { total: '2' },
    ]);
    await db.expectTruth();
  });

  test('refuses what is no topic, no queue or no job', async ({ db }) => {
    for (const topic of [null, '', 'a b', '-x', 'x'.repeat(129)]) {
      expect(await sqlError(subscribe(db, topic, 'dead-letters'))).toMatchObject({ code: 'HW203' });
      expect(await sqlError(publish(db, { topic, payload: 1 }))).toMatchObject({ code: 'HW203' });
    }
    expect(await sqlError(publish(db, { topic: 5, payload: 1 }))).toMatchObject({ code: 'HW203' });
    expect(await sqlError(subscribe(db, 'orders', 'nowhere'))).toMatchObject({ code: 'HW001' });
    expect(await sqlError(unsubscribe(db, 'orders', 'nowhere'))).toMatchObject({ code: 'HW001' });
    expect(await sqlError(publish(db, []))).toMatchObject({ code: 'HW018' });
    expect(await sqlError(publish(db, { topic: 't', queue: 'q', payload: 1 }))).toMatchObject({
      code: 'HW018',
    });
    // also where nobody listens
    expect(await sqlError(publish(db, { topic: 'nobody' }))).toMatchObject({ code: 'HW010' });
    expect(
      await sqlError(publish(db, { topic: 'nobody', payload: 1, priority: 1000 })),
    ).toMatchObject({ code: 'HW012' });
  });
});
