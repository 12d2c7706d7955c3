// A producer or worker process: one contender, driven by the harness over IPC.
import { createContender } from '../contenders/registry.js';
import { Consumer } from './consumer.js';
import { Producer } from './producer.js';

const [name, url] = process.argv.slice(2);
const contender = await createContender(name);
await contender.setup(url);
const producer = new Producer(contender, url);
const consumer = new Consumer(contender);

const verbs = {
  describe: () => contender.describe(),
  produce: ({ how, ...options }) => producer[how](options),
  unfinished: () => contender.unfinished(),
  startWorker: (options) => consumer.start(options),
  progress: () => consumer.progress(),
  release: () => consumer.release(),
  report: () => consumer.report(),
  memory: () => ({ rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }),
  stop: async () => {
    await contender.stop();
    setImmediate(() => process.disconnect());
  },
};

process.on('message', async ({ id, verb, options }) => {
  try {
    process.send({ id, result: await verbs[verb](options) });
  } catch (error) {
    process.send({ id, error: error?.stack ?? String(error) });
  }
});
// The harness is gone: so is the reason to live.
process.on('disconnect', () => process.exit());
process.send({ ready: true });
