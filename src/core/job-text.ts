import type { Codecs } from './codec.js';
import { encodeJobOptions, type JobOptions, type OptionsCodec } from './enqueue-options.js';
import { encodePayload } from './payload.js';
import { type AnyQueue, nameOf } from './queue.js';

/**
 * Encodes jobs of one queue with the same options, each once and for all: statements are made by
 * joining such texts. The encoder returns a promise only where the schema is asynchronous. A dedupe key
 * may be a function of the payload.
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @param codecs what payload, headers and dedupe key pass
 * @throws HowdahError what {@link encodeJobOptions} throws; the encoder what {@link encodePayload}
 *   throws
 */
export function jobEncoder(
  target: AnyQueue | string,
  options: JobOptions | undefined,
  now: number,
  codecs?: Codecs,
): (payload: unknown) => string | Promise<string> {
  const queue = nameOf(target);
  // the rule for names leaves nothing to escape
  const head = `{"queue":"${queue}","payload":`;
  const codec = codecs && codecOf(codecs, queue, options);
  const priority = typeof target === 'string' ? 0 : target.priority;
  const keyOf: unknown = options?.dedupe?.key;
  const encode = (payload: unknown, tail: string): string | Promise<string> => {
    const text = encodePayload(target, payload, codec?.payload);
    return typeof text === 'string' ? head + text + tail : text.then((late) => head + late + tail);
  };
  if (typeof keyOf === 'function') {
    return (payload) => {
      const dedupe = { ...options?.dedupe, key: keyOf(payload) as string };
      return encode(payload, `${encodeJobOptions({ ...options, dedupe }, priority, now, codec)}}`);
    };
  }
  const tail = `${encodeJobOptions(options, priority, now, codec)}}`;
  return (payload) => encode(payload, tail);
}

function codecOf(
  codecs: Codecs,
  queue: string,
  options: JobOptions | undefined,
): OptionsCodec & { readonly payload: (text: string) => string } {
  const place = { queue, headers: options?.headers };
  return {
    payload: (text) => codecs.encode('payload', text, place),
    headers: (text) => codecs.encode('headers', text, place),
    dedupeKey: (key) => codecs.dedupeKey(key, queue),
  };
}

/** The most text of jobs joined in one statement, about 1 MiB; a larger job goes alone. */
export const STATEMENT_CHARS_MAX = 1_048_576;

/** The parameter of an enqueue statement: a JSON array of encoded jobs. */
export function joinJobs(jobs: readonly string[]): string {
  return `[${jobs.join(',')}]`;
}
