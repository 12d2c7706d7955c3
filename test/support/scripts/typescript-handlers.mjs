// Runs the jobs of a queue by a handler file in TypeScript, and says what became of it.
import { createWorker, silentLogger, work } from 'howdah';

const { url, queue, kind, file } = JSON.parse(process.env.PROGRAM);
const worker = createWorker({
  url,
  logger: silentLogger,
  queues: [work(queue, { file: new URL(`handler-files/${file}`, import.meta.url), [kind]: 1 })],
});
try {
  const { completed, dead } = await worker.runOnce();
  console.log(JSON.stringify({ completed, dead }));
} catch ({ code, message, remedy }) {
  console.log(JSON.stringify({ code, message, remedy }));
}
