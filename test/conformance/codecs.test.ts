import {
  type Codec,
  createClient,
  type DeadLetter,
  deadLetter,
  PermanentError,
  type Queue,
  queue,
  type WorkerOptions,
  work,
} from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { scrambling, sealing } from '../support/codecs.js';
import { test } from '../support/database.js';
import { heard, makeWorker } from '../support/workers.js';

interface Kit {
  readonly name: string;
  readonly codec: Codec | undefined;
  /** The same payload is always stored alike, so that duplicates can be compared. */
  readonly isDeterministic: boolean;
}

/** Leaves nothing of the tests before. */
const clear = (pool: pg.Pool) =>
  pool.query('truncate howdah._jobs, howdah._history, howdah._dedupes');

const KITS: readonly Kit[] = [
  { name: 'no codec', codec: undefined, isDeterministic: true },
  { name: 'a scrambling codec', codec: scrambling, isDeterministic: true },
  { name: 'a sealing codec', codec: sealing, isDeterministic: false },
];

/** In everything that is handed over; must not be found in the database where there is a codec. */
const SECRET = 'xyzzy';

type Letter = { readonly to: string; readonly n: number };

let made = 0;

describe.each(KITS)('with $name', ({ codec, isDeterministic }) => {
  const options = codec ? { codec } : {};
  const newQueue = (policy: object = {}): Queue<string, Letter, Letter> => {
    made += 1;
    return queue(`codec-${made}`, {
      schema: z.object({ to: z.string(), n: z.number() }),
      backoff: { type: 'fixed', delay: 0 },
      ...policy,
    });
  };
  const letter = (n = 1): Letter => ({ to: SECRET, n });
  const clientOf = (url: string) => {
    const client = createClient({ url, ...options });
    onTestFinished(() => client.close());
    return client;
  };
  const workerOf = (url: string, queues: WorkerOptions['queues']) =>
    makeWorker({ url, queues, ...options });
  const expectSecret = async (pool: pg.Pool) => {
    const { rows } = await pool.query<{ text: string }>(
      'select j::text as text from howdah.jobs j union all select d::text from howdah._dedupes d',
    );
    const open = rows.filter(({ text }) => text.includes(SECRET));
    if (codec) expect(open).toEqual([]);
    else expect(open.length).toBeGreaterThan(0);
  };

  test('payload and headers reach the handler, its result the producer', async ({ url, pool }) => {
    await clear(pool);
    const mail = newQueue();
    const client = clientOf(url);
    const headers = { trace: SECRET };
    const one = await client.enqueue(mail, letter(), { headers });
    const both = [client.enqueue(mail, letter(2)), client.enqueue(mail, letter(3))];
    await Promise.all(both);
    await client.enqueueMany(mail, [letter(4), letter(5)], { headers });
    const tx = new pg.Client(url);
    await tx.connect();
    onTestFinished(() => tx.end());
    await tx.query('begin');
    await client.enqueue(mail, letter(6), { tx, headers });
    await client.enqueueMany(mail, [letter(7)], { tx });
    await tx.query('commit');
    const seen: unknown[] = [];
    const { worker } = workerOf(url, [
      work(mail, ({ payload, headers: { trace = null } }) => {
        seen.push([payload.n, payload.to, trace]);
        return { echo: payload };
      }),
    ]);
    expect(await worker.runOnce()).toMatchObject({ completed: 7 });
    const expected = [SECRET, null, null, SECRET, SECRET, SECRET, null];
    expect(seen).toEqual(expected.map((trace, i) => [i + 1, SECRET, trace]));
    expect(await client.jobs.get(one.id)).toMatchObject({
      state: 'completed',
      payload: letter(),
      headers,
      result: { echo: letter() },
      undecoded: [],
    });
    await expectSecret(pool);
  });

  test('errors are retried, shown, grouped and redriven', async ({ url, pool }) => {
    await clear(pool);
    const mail = newQueue({ attempts: 2 });
    const elsewhere = newQueue();
    const client = clientOf(url);
    const { id } = await client.enqueue(mail, letter(), { headers: { trace: SECRET } });
    const histories: unknown[] = [];
    const failing = workerOf(url, [
      work(mail, ({ errors }) => {
        histories.push(errors.map(({ message }) => message));
        throw new TypeError(`${SECRET} ${errors.length}`);
      }),
    ]);
    expect(await failing.worker.runOnce()).toMatchObject({ failed: 1, dead: 1 });
    expect(histories).toEqual([[], [`${SECRET} 0`]]);
    // what is heard in the process is not encoded
    expect(await heard(failing, 'job.dead')).toMatchObject({ error: { message: `${SECRET} 1` } });
    const details = await client.jobs.get(id);
    expect(details).toMatchObject({
      state: 'dead',
      lastError: `${SECRET} 1`,
      errors: [
        { name: 'TypeError', message: `${SECRET} 0`, attempt: 1 },
        { name: 'TypeError', message: `${SECRET} 1`, attempt: 2, stack: expect.any(String) },
      ],
    });
    const [dead] = (await client.deadLetters.list({ queue: mail })) as [DeadLetter];
    expect(dead).toMatchObject({ id, payload: letter(), lastError: `${SECRET} 1`, undecoded: [] });
    expect(await client.jobs.list({ queue: 'dead-letters' })).toMatchObject([
      { lastError: `${SECRET} 1` },
    ]);
    expect(await client.deadLetters.groups({ queue: mail })).toMatchObject([
      { jobs: 1, name: 'TypeError' },
    ]);
    await client.queues.create(elsewhere);
    await client.deadLetters.redrive(
      { fingerprint: dead.fingerprint as string },
      { to: elsewhere },
    );
    const seen: unknown[] = [];
    const other = workerOf(url, [
      work(elsewhere, (job) => void seen.push([job.payload, job.headers, job.errors.length])),
    ]);
    expect(await other.worker.runOnce()).toMatchObject({ completed: 1 });
    expect(seen).toEqual([[letter(), { trace: SECRET }, 2]]);
    expect(await client.jobs.list({ state: 'completed' })).toMatchObject([
      { lastError: `${SECRET} 1` },
    ]);
    await expectSecret(pool);
  });

  test('a dead letter is worked where it lies; reasons made of errors are not told', async ({
    url,
    pool,
  }) => {
    await clear(pool);
    const parked = newQueue();
    const mail = newQueue({ deadLetterQueue: parked });
    const client = clientOf(url);
    const { id } = await client.enqueue(mail, letter());
    const spoken = await client.enqueue(mail, letter(2));
    const { worker } = workerOf(url, [
      work(mail, ({ payload }) => {
        if (payload.n === 2) return deadLetter('spoken');
        throw new PermanentError(SECRET);
      }),
    ]);
    expect(await worker.runOnce()).toMatchObject({ dead: 2 });
    expect(await client.jobs.get(id)).toMatchObject({ reason: codec ? 'PermanentError' : SECRET });
    expect(await client.jobs.get(spoken.id)).toMatchObject({
      reason: 'spoken',
      lastError: 'spoken',
    });
    const seen: unknown[] = [];
    const second = workerOf(url, [work(parked, ({ payload }) => void seen.push(payload))]);
    expect(await second.worker.runOnce()).toMatchObject({ completed: 2 });
    expect(seen).toEqual([letter(), letter(2)]);
    await expectSecret(pool);
  });

  test('batches and completeIn', async ({ url, pool }) => {
    await clear(pool);
    const mail = newQueue();
    const client = clientOf(url);
    const { ids } = await client.enqueueMany(mail, [letter(), letter(2)]);
    const { worker } = workerOf(url, [
      work(
        mail,
        async (jobs, context) => {
          const tx = await pool.connect();
          await tx.query('begin');
          await context.completeIn(tx, { of: jobs.map(({ payload }) => payload.to) });
          await tx.query('commit');
          tx.release();
        },
        { batch: { size: 10 } },
      ),
    ]);
    expect(await worker.runOnce()).toMatchObject({ completed: 2 });
    for (const id of ids) {
      expect(await client.jobs.get(id as string)).toMatchObject({
        result: { of: [SECRET, SECRET] },
      });
    }
    await expectSecret(pool);
  });

  test('pull: received, failed, completed, from another process too', async ({ url, pool }) => {
    await clear(pool);
    const mail = newQueue();
    const client = clientOf(url);
    const other = clientOf(url);
    const headers = { trace: SECRET };
    await client.enqueueMany(mail, [letter(1), letter(2), letter(3)], { headers });
    const [a, b, c] = await client.receive(mail, { max: 3 });
    expect(a).toMatchObject({ payload: letter(1), headers, isStop: false });
    await a?.complete({ echo: SECRET });
    await other.receipt(b?.receipt as string).complete({ other: SECRET });
    await c?.fail(new Error(SECRET));
    const [again] = await client.receive(mail);
    expect(again).toMatchObject({ id: c?.id, errors: [{ message: SECRET, attempt: 1 }] });
    await again?.extend('1m');
    await again?.deadLetter('spoken');
    expect(await client.jobs.get(a?.id as string)).toMatchObject({ result: { echo: SECRET } });
    expect(await client.jobs.get(b?.id as string)).toMatchObject({ result: { other: SECRET } });
    expect(await client.jobs.get(c?.id as string)).toMatchObject({
      reason: 'spoken',
      errors: [{ message: SECRET }, { message: 'spoken' }],
    });
    await expectSecret(pool);
  });

  test('duplicates are found; they can be compared where the codec is deterministic', async ({
    url,
    pool,
  }) => {
    await clear(pool);
    const mail = newQueue();
    const client = clientOf(url);
    const dedupe = { key: codec === sealing ? 'its keys are stored as they are' : SECRET };
    const first = await client.enqueue(mail, letter(), { dedupe });
    const second = await client.enqueue(mail, letter(), { dedupe });
    expect(second).toEqual({ id: first.id, created: false, same: isDeterministic });
    expect(await client.enqueue(mail, letter(2), { dedupe })).toMatchObject({ same: false });
    const { duplicates } = await client.enqueueMany(mail, [letter(3), letter(4)], {
      dedupe: { key: ({ n }: Letter) => `${SECRET}${n % 1}`, mode: 'replace' },
    });
    expect(duplicates).toBe(1);
    if (codec !== sealing) await expectSecret(pool);
  });

  test('what is not encoded passes: of other languages, or from before', async ({ url, pool }) => {
    await clear(pool);
    const mail = newQueue();
    const client = clientOf(url);
    await client.queues.create(mail);
    const { rows } = await pool.query('select id from howdah.enqueue($1::text::jsonb)', [
      JSON.stringify({ queue: mail.name, payload: letter(), headers: { plain: true } }),
    ]);
    const seen: unknown[] = [];
    const { worker } = workerOf(url, [
      work(mail, ({ payload, headers }) => void seen.push([payload, headers])),
    ]);
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(seen).toEqual([[letter(), { plain: true }]]);
    expect(await client.jobs.get(rows[0].id)).toMatchObject({ payload: letter(), undecoded: [] });
  });

  test('a poison pill is met', async ({ url }) => {
    const mail = newQueue();
    const client = clientOf(url);
    await client.queues.create(mail);
    await client.workers.stopConsumers(mail);
    const [pill] = await client.receive(mail);
    expect(pill?.isStop).toBe(true);
    await pill?.complete();
  });
});
