// A worker process for tests. Settings come as JSON in the variable WORKER:
//   { url, queue, handler, ms, concurrency, events, ...options of the worker }
// It prints "ready", "start <id> <attempt>", "done <id>", "event <json>" and, after SIGTERM,
// "report <json>".
import { createWorker, silentLogger, work } from 'howdah';

const settings = JSON.parse(process.env.WORKER);
const { url, queue, concurrency = 10, handler, ms = 0, events = [], ...options } = settings;

const say = (line) => process.stdout.write(`${line}\n`);
const handlers = {
  noop: () => undefined,
  patient: (_job, { signal }) =>
    new Promise((resolve, reject) => {
      setTimeout(resolve, ms);
      signal.addEventListener('abort', () => reject(signal.reason));
    }),
};

const worker = createWorker({
  url,
  logger: silentLogger,
  queues: [
    work(
      queue,
      async (job, context) => {
        say(`start ${job.id} ${job.attempt}`);
        const result = await handlers[handler](job, context);
        say(`done ${job.id}`);
        return result;
      },
      { concurrency },
    ),
  ],
  ...options,
});
worker.onEvent((event) => {
  if (events.includes(event.type)) say(`event ${JSON.stringify(event)}`);
});
process.once('SIGTERM', async () => say(`report ${JSON.stringify(await worker.stop())}`));
process.once('SIGINT', () => worker.stop());
await worker.start();
say('ready');
