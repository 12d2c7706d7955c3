import { encodeJobOptions, type JobOptions } from './enqueue-options.js';
import { encodePayload } from './payload.js';
import { type AnyQueue, nameOf } from './queue.js';

/**
 * Encodes jobs of one queue with the same options, each once and for all: statements are made by
 * joining such texts. The encoder returns a promise only where the schema is asynchronous. A dedupe key
 * may be a function of the payload.
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @throws HowdahError what {@link encodeJobOptions} throws; the encoder what {@link encodePayload}
 *   throws
 */
export function jobEncoder(
  target: AnyQueue | string,
  options: JobOptions | undefined,
  now: number,
): (payload: unknown) => string | Promise<string> {
  // the rule for names leaves nothing to escape
  const head = `{"queue":"${nameOf(target)}","payload":`;
  const priority = typeof target === 'string' ? 0 : target.priority;
  const keyOf: unknown = options?.dedupe?.key;
  if (typeof keyOf === 'function') {
    return (payload) => {
      const dedupe = { ...options?.dedupe, key: keyOf(payload) as string };
      return encodeWith(
        target,
        payload,
        head,
        `${encodeJobOptions({ ...options, dedupe }, priority, now)}}`,
      );
    };
  }
  const tail = `${encodeJobOptions(options, priority, now)}}`;
  return (payload) => encodeWith(target, payload, head, tail);
}

function encodeWith(
  target: AnyQueue | string,
  payload: unknown,
  head: string,
  tail: string,
): string | Promise<string> {
  const text = encodePayload(target, payload);
  return typeof text === 'string' ? head + text + tail : text.then((late) => head + late + tail);
}

/** The most text of jobs joined in one statement, about 1 MiB; a larger job goes alone. */
export const STATEMENT_CHARS_MAX = 1_048_576;

/** The parameter of an enqueue statement: a JSON array of encoded jobs. */
export function joinJobs(jobs: readonly string[]): string {
  return `[${jobs.join(',')}]`;
}
