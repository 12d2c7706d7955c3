// A worker to be killed, frozen and cut off: node fault-worker.mjs '<options as JSON>'. What a job
// does is said by its payload. Each event of the worker is printed as one line of JSON.
import { createWorker, silentLogger, work } from 'howdah';
import { makeHandlers } from './fault-handlers.mjs';
import { hostileHandlers } from './hostile-handlers.mjs';

const {
  url,
  queue,
  effectsUrl = url,
  binding = {},
  extraQueues = [],
  ...options
} = JSON.parse(process.argv[2]);
const { handle, handleBatch } = makeHandlers(effectsUrl, hostileHandlers);
const worker = createWorker({
  url,
  logger: silentLogger,
  ...options,
  queues: [
    work(queue, binding.batch ? handleBatch : handle, binding),
    ...extraQueues.map((name) => work(name, handle, { concurrency: 1 })),
  ],
});

worker.onEvent((event) => {
  const { error } = event;
  const facts = error ? { ...event, error: { code: error.code, message: error.message } } : event;
  process.stdout.write(`${JSON.stringify({ ...facts, at: Date.now() })}\n`);
});
process.once('SIGTERM', () => void worker.stop().then(() => process.exit(0)));
await worker.start();
