// Compiled by `npm run check`, never run: what middleware, events and codecs are for the compiler.
import {
  type AttemptMiddleware,
  type Client,
  type Codec,
  createClient,
  createWorker,
  type EnqueueMiddleware,
  type Job,
  queue,
  snooze,
  work,
} from 'howdah';

declare const client: Client;
const mail = queue<{ to: string }>('mail');

// around attempts: the middleware of a binding knows what its handler gets
work(mail, () => undefined, {
  middleware: [
    async (job, context, next) => {
      job.payload.to.toUpperCase();
      context.signal.throwIfAborted();
      const result: unknown = await next();
      return result;
    },
    (_job, _context, next) => next(),
    () => snooze('5m'),
  ],
});
work(mail, () => undefined, {
  batch: { size: 10 },
  middleware: [
    (jobs, _context, next) => {
      jobs[0]?.payload.to.toUpperCase();
      return next();
    },
  ],
});
work('by-name', () => undefined, {
  middleware: [({ id }, _context, next) => next().then(() => id)],
});

// the middleware of a worker gets both kinds, and goes with any binding
const both: AttemptMiddleware = (input, _context, next) => {
  const jobs: readonly Job[] = [input].flat();
  // @ts-expect-error: it may be an array
  input.payload;
  return jobs.length === 0 ? null : next();
};
work(mail, () => undefined, { middleware: [both] });
createWorker({ queues: [work(mail, () => undefined)], middleware: [both] });
// @ts-expect-error: next takes nothing
const changing: AttemptMiddleware = (input, _context, next) => next(input);
// @ts-expect-error: middleware of one job does not go around every handler
createWorker({ queues: [], middleware: [({ id }: Job, _context, next) => next().then(() => id)] });

// around enqueue
const tagged: EnqueueMiddleware = (call, next) => next(call.withHeaders({ a: 1, b: undefined }));
createClient({ middleware: [tagged, (_call, next) => next()] });
// @ts-expect-error: a call is never changed
const writing: EnqueueMiddleware = (call) => (call.payload = 1);
// @ts-expect-error: headers are JSON
const wrong: EnqueueMiddleware = (call, next) => next(call.withHeaders({ a: () => 1 }));

// events
client.on('job.enqueued', ({ job, isCommitted }) => `${job.id}${isCommitted}`);
client.on('job.settled', ({ outcome }) => outcome.toUpperCase());
client.onEvent((event) => (event.type === 'job.received' ? event.job.attempt : 0));
// @ts-expect-error: no such event of a client
client.on('job.completed', () => undefined);

// codecs
const codec: Codec = {
  id: 'x',
  encode: (text, { field, jobId }) => (field === 'payload' ? undefined : `${jobId}${text}`),
  decode: (encoded) => encoded,
};
createClient({ codec });
createWorker({ queues: [], codec: [codec] });
// @ts-expect-error: both ways are synchronous
const late: Codec = { id: 'late', encode: async (text: string) => text, decode: (text) => text };

export { changing, late, writing, wrong };
