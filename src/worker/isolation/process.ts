// Runs handlers in a child process: node process.js <file URL of the handler>
import { Worker as Thread } from 'node:worker_threads';
import { HandlerHost } from './handler-host.js';
import { IsolatedContext } from './isolated-context.js';
import type { AbortMessage, EndMessage, ProcessMessage, RunMessage } from './messages.js';

const host = new HandlerHost(process.argv[2] ?? '');
let context: IsolatedContext | undefined;

process.once('disconnect', () => process.exit(0));
// A Ctrl-C reaches the whole group; when this process ends is for the worker to say.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
new Thread(new URL('./orphan-watch.js', import.meta.url), {
  name: 'howdah orphan watch',
  resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
}).unref();

process.on('message', (message: RunMessage | AbortMessage | EndMessage) => {
  if (message.type === 'end') process.exit(0);
  else if (message.type === 'abort') context?.abort(message);
  else void run(message);
});
say({ type: 'loaded', answer: await host.load() });

async function run({ job }: RunMessage): Promise<void> {
  context = new IsolatedContext({ post: say });
  say({ type: 'answer', answer: await host.run(job, context) });
}

function say(message: ProcessMessage): void {
  process.send?.(message);
}
