// A worker whose handler file runs in threads, in a process of its own: a thread whose heap is full may end it.
//   node thread-worker.mjs '{"url", "queue", "memoryMb"}'
import { createWorker, silentLogger, work } from 'howdah';

const { url, queue, memoryMb } = JSON.parse(process.argv[2]);
const file = new URL('./file-handler.mjs', import.meta.url);
const worker = createWorker({
  url,
  lease: '1s',
  logger: silentLogger,
  queues: [work(queue, { file, threads: 2, memoryMb })],
});
worker.on('handler.crashed', ({ reason }) => console.log(`crashed: ${reason}`));
await worker.start();
console.log('ready');
