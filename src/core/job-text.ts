import { encodeJobOptions, type JobOptions } from './enqueue-options.js';
import { encodePayload } from './payload.js';
import { type AnyQueue, nameOf } from './queue.js';

/**
 * One job as the SQL function takes it, encoded once: statements are made by joining such texts.
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @returns a promise only where the schema of the queue is asynchronous
 * @throws HowdahError what {@link encodePayload} and {@link encodeJobOptions} throw
 */
export function encodeJob(
  target: AnyQueue | string,
  payload: unknown,
  options: JobOptions | undefined,
  now: number,
): string | Promise<string> {
  // the rule for names leaves nothing to escape
  const head = `{"queue":"${nameOf(target)}","payload":`;
  const tail = `${encodeJobOptions(options, typeof target === 'string' ? 0 : target.priority, now)}}`;
  const text = encodePayload(target, payload);
  return typeof text === 'string' ? head + text + tail : text.then((late) => head + late + tail);
}

/** The parameter of an enqueue statement: a JSON array of encoded jobs. */
export function joinJobs(jobs: readonly string[]): string {
  return `[${jobs.join(',')}]`;
}
