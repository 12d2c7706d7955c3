// Runs handlers in a worker thread; piscina calls what this exports.
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Job } from '../../core/job.js';
import { HandlerHost } from './handler-host.js';
import { IsolatedContext } from './isolated-context.js';
import type { AbortMessage, LoadAnswer, RunAnswer } from './messages.js';

/** What a thread is started with. */
export interface ThreadData {
  readonly file: string;
}

/** What a thread is asked; without a job, to load the file. The port is for abort and log messages. */
export interface ThreadTask {
  readonly job?: Job;
  readonly port?: MessagePort;
}

const host = new HandlerHost((workerData as ThreadData).file);

export default async function answer({ job, port }: ThreadTask): Promise<LoadAnswer | RunAnswer> {
  if (!job || !port) return host.load();
  const context = new IsolatedContext({
    post: (message) => port.postMessage(message),
    poll: () => receiveMessageOnPort(port)?.message as AbortMessage | undefined,
  });
  port.on('message', (message: AbortMessage) => context.abort(message));
  return host.run(job, context);
}
