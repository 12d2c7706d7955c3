// A worker whose handler runs in one child process: node file-worker.mjs '<options as JSON>'
import { createWorker, silentLogger, work } from 'howdah';

const { url, queue, file } = JSON.parse(process.argv[2]);
const worker = createWorker({
  url,
  logger: silentLogger,
  queues: [work(queue, { file, processes: 1 })],
});
process.once('SIGINT', () => void worker.stop().then(() => process.exit(0)));
await worker.start();
console.log('ready');
