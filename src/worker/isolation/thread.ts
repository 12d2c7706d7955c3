// Runs handlers in a worker thread; piscina calls what this exports.
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Job } from '../../core/job/job.js';
import { HandlerHost } from './handler-host.js';
import { IsolatedContext } from './isolated-context.js';
import type { AbortMessage, LoadAnswer, RunAnswer } from './messages.js';

/** What a thread is started with. */
interface ThreadData {
  readonly file: string;
}

/** A job to run. The port is for abort and log messages. */
interface ThreadTask {
  readonly job: Job;
  readonly port: MessagePort;
}

const host = new HandlerHost((workerData as ThreadData).file);

export function load(): Promise<LoadAnswer> {
  return host.load();
}

export default function run({ job, port }: ThreadTask): Promise<RunAnswer> {
  const context = new IsolatedContext({
    post: (message) => port.postMessage(message),
    poll: () => receiveMessageOnPort(port)?.message as AbortMessage | undefined,
  });
  port.on('message', (message: AbortMessage) => context.abort(message));
  return host.run(job, context);
}
