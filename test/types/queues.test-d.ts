// Compiled by `npm run check`, never run: what the types promise and what they refuse.
import {
  type AnyQueue,
  type Client,
  type EnqueueManyArrayResult,
  type EnqueueManyResult,
  type Json,
  type Jsonified,
  type Queue,
  queue,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
  work,
} from 'howdah';
import { z } from 'zod';

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const proves = <_ extends true>(): void => undefined;

declare const client: Client;

const email = queue('email', {
  schema: z.object({ to: z.email(), at: z.coerce.date().optional(), tries: z.number().default(1) }),
  attempts: 5,
  backoff: { type: 'exponential', delay: '10s', max: '1 h' },
  timeout: '30s',
});
const plain = queue<{ id: number; at: Date; note?: string }>('plain', { attempts: 3 });
const anything = queue('anything');

// producers
await client.enqueue(email, { to: 'a@b.co' }, { delay: '5m', priority: 3 });
await client.enqueue(email, { to: 'a@b.co', at: new Date() });
await client.enqueue(plain, { id: 1, at: new Date() });
await client.enqueue(anything, { whatever: [1, 2] });
await client.enqueue('by-name', { whatever: [1, 2] });
const batch = await client.batches.open({
  onComplete: { queue: email, payload: { to: 'a@b.co' } },
});
await client.batches.open({ onComplete: { queue: 'by-name', payload: [1], priority: 3 } });
await batch.enqueue(plain, { id: 1, at: new Date() });
// @ts-expect-error: not the payload of the queue
await client.batches.open({ onComplete: { queue: plain, payload: { id: 'x' } } });
// @ts-expect-error: a key that the schema does not have
await batch.enqueue(email, { too: 'a@b.co' });
// @ts-expect-error: a key that the schema does not have
await client.enqueue(email, { too: 'a@b.co' });
// @ts-expect-error: a missing key
await client.enqueue(plain, { id: 1 });
// @ts-expect-error: another type
await client.enqueue(plain, { id: '1', at: new Date() });
// @ts-expect-error: not a duration
await client.enqueue(plain, { id: 1, at: new Date() }, { delay: '5 parsecs' });
// @ts-expect-error: no such option
await client.enqueue(anything, 1, { dealy: '5m' });
// @ts-expect-error: headers are JSON
await client.enqueue(anything, 1, { headers: { f: () => 1 } });

const ofArray = await client.enqueueMany(plain, [{ id: 1, at: new Date() }]);
proves<Equal<typeof ofArray, EnqueueManyArrayResult>>();
const ofSet = await client.enqueueMany('by-name', new Set([1, 2]), { onError: 'report' });
proves<Equal<typeof ofSet, EnqueueManyResult>>();
// @ts-expect-error: every payload is checked
await client.enqueueMany(plain, [{ id: 1, at: new Date() }, { id: 2 }]);
async function* ids(): AsyncGenerator<{ id: number }> {
  yield { id: 1 };
}
// @ts-expect-error: also those of a stream
await client.enqueueMany(plain, ids());

// handlers get what the schema returns, or what JSON makes of the payload
work(email, ({ payload }) => {
  proves<Equal<typeof payload.tries, number>>();
  proves<Equal<typeof payload.at, Date | undefined>>();
});
work(plain, ({ payload }) => {
  proves<Equal<typeof payload.at, string>>();
  proves<Equal<typeof payload.note, string | undefined>>();
  payload.id.toFixed();
});
work(plain, ({ payload }) => {
  // @ts-expect-error: a Date has become a string
  payload.at.getTime();
});

// declarations
// @ts-expect-error: no such option
queue('x', { atempts: 3 });
// @ts-expect-error: no such kind of backoff
queue('x', { backoff: { type: 'linear' } });
// @ts-expect-error: not a duration
queue('x', { timeout: 'soon' });
queue('x', { deadLetterQueue: email, ttl: null });
const queues: AnyQueue[] = [email, plain, anything];
proves<Equal<(typeof queues)[0]['name'], string>>();
proves<Equal<typeof email.name, 'email'>>();

// a schema made by hand
const even: StandardSchema<string, number> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: Number(value) }) },
};
const byHand = queue('by-hand', { schema: even });
proves<Equal<typeof byHand, Queue<'by-hand', string, number>>>();
proves<Equal<SchemaInput<typeof even>, string>>();
proves<Equal<SchemaOutput<typeof even>, number>>();
await client.enqueue(byHand, '2');
// @ts-expect-error: the schema takes text
await client.enqueue(byHand, 2);

// what JSON makes of types
interface Money {
  amount: bigint;
}
proves<Equal<Jsonified<Date>, string>>();
proves<Equal<Jsonified<{ a?: Date[]; b: [1, 'x', null] }>, { a?: string[]; b: [1, 'x', null] }>>();
proves<Equal<Jsonified<Map<string, number>>, never>>();
proves<Equal<Jsonified<Money>, { amount: never }>>();
proves<Equal<Jsonified<unknown>, unknown>>();
// biome-ignore lint/suspicious/noExplicitAny: that it survives is what is tested
proves<Equal<Jsonified<any>, any>>();

// results
const sums = queue<{ a: number }, { sum: number }>('sums');
const handle = await client.enqueue(sums, { a: 1 });
proves<Equal<Awaited<ReturnType<typeof handle.result>>, { sum: number }>>();
work(sums, ({ payload }) => ({ sum: payload.a }));
// @ts-expect-error: a result of another type
work(sums, ({ payload }) => payload.a);
const byName = await client.enqueue('by-name', 1);
proves<Equal<Awaited<ReturnType<typeof byName.result>>, Json>>();

// results: by type parameters, or by a schema of which handlers see what goes in, producers what comes out
interface Total {
  sum: number;
}
const totals = queue<{ a: number }, Total>('totals');
work(totals, () => ({ sum: 1 }));
// @ts-expect-error: another result
work(totals, () => ({ sum: '1' }));
const adding = await client.enqueue(totals, { a: 1 });
const total = await adding.result();
proves<Equal<typeof total, Total>>();
const stop: () => void = adding.onProgress(({ progress, state }) => console.log(progress, state));
stop();
// a queue with a result is taken wherever queues are
await batch.enqueue(totals, { a: 1 });
await client.enqueueMany(totals, [{ a: 1 }]);
await client.batches.open({ onComplete: { queue: totals, payload: { a: 1 } } });
await client.schedules.put({ name: 'totals', cron: '0 0 * * *', queue: totals, payload: { a: 1 } });

const dated = queue('dated', {
  schema: z.object({ n: z.number() }),
  resultSchema: z.object({ at: z.string().transform((text) => new Date(text)) }),
});
work(dated, ({ payload }) => ({ at: `${payload.n}` }));
// @ts-expect-error: the schema takes text
work(dated, () => ({ at: new Date() }));
const { at } = await (await client.enqueue(dated, { n: 1 })).result();
proves<Equal<typeof at, Date>>();
const byId = await client.result('1', { queue: dated, timeout: '1s' });
proves<Equal<typeof byId, { at: Date }>>();
const loose: Json = await client.result('1');
const claimed = await client.result<number>('1');
proves<Equal<typeof claimed, number>>();
console.log(loose);
const onlyResult = queue('only-result', { resultSchema: z.number() });
const got = await (await client.enqueue(onlyResult, { any: 1 })).result();
proves<Equal<typeof got, number>>();
// @ts-expect-error: the schema of results has another type
queue<{ a: number }, Total>('totals', { resultSchema: z.object({ sum: z.string() }) });
