// A producer or worker process: one contender, driven by the harness over IPC.
import { createContender } from '../contenders/registry.js';
import { Consumer } from './consumer.js';
import { Producer } from './producer.js';
import { TRIES } from './tries.js';
import { Waiters } from './waiters.js';

const [name, url] = process.argv.slice(2);
const contender = await createContender(name);
await contender.setup(url);
const producer = new Producer(contender, url);
const consumer = new Consumer(contender);
const waiters = new Waiters(contender);

let finishing;
const finish = () => {
  finishing ??= contender.stop();
  return finishing;
};

const verbs = {
  describe: () => contender.describe(),
  produce: ({ how, ...options }) => producer.run(how, options),
  spread: ({ queues }) => contender.spread(queues),
  try: ({ how, ...options }) => TRIES[how](contender, options),
  unfinished: () => contender.unfinished(),
  startWorker: (options) => consumer.start(options),
  progress: () => consumer.progress(),
  wait: (options) => waiters.start(options),
  waited: () => waiters.progress(),
  waitersReport: () => waiters.report(),
  release: () => consumer.release(),
  report: () => consumer.report(),
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
  memory: () => ({ rss: process.memoryUsage.rss(), peak: process.resourceUsage().maxRSS * 1024 }),
  /** Nothing runs after it; the report is still to be had. */
  finish: () => finish(),
  stop: async () => {
    await finish();
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
