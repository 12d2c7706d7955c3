import type { Codecs } from '../codec/codec.js';
import { type AnyQueue, nameOf } from '../queue/queue.js';
import { encodeJobOptions, type JobOptions, type OptionsCodec } from './enqueue-options.js';
import { encodePayload } from './payload.js';

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
  const priority = priorityOf(target);
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

/** Encodes jobs of one queue with the same options for statements of many. */
interface BulkEncoder {
  /** What a statement needs of one job. */
  readonly encode: (payload: unknown) => string | Promise<string>;
  /** The parameter of an enqueue statement. */
  readonly join: (texts: readonly string[]) => string;
}

/**
 * As {@link jobEncoder}. Queue and options are said once a statement, unless each job has a dedupe key of
 * its own: of small jobs that is most of what the server would have to read.
 * @throws HowdahError as {@link jobEncoder}
 */
export function bulkEncoder(
  target: AnyQueue | string,
  options: JobOptions | undefined,
  now: number,
  codecs?: Codecs,
): BulkEncoder {
  if (typeof options?.dedupe?.key === 'function') {
    return { encode: jobEncoder(target, options, now, codecs), join: joinJobs };
  }
  const queue = nameOf(target);
  const codec = codecs && codecOf(codecs, queue, options);
  const shared = encodeJobOptions(options, priorityOf(target), now, codec);
  const head = `{"queue":"${queue}"${shared}}`;
  return {
    encode: (payload) => encodePayload(target, payload, codec?.payload),
    join: (texts) => `${head}${SEPARATOR}${texts.join(SEPARATOR)}`,
  };
}

/** Stands in no JSON (RFC 7464): see `enqueue_many()` in `migrations/0020_enqueue.sql`. */
const SEPARATOR = '\x1e';

function priorityOf(target: AnyQueue | string): number {
  return typeof target === 'string' ? 0 : target.priority;
}

/** What payload, headers and dedupe key of a job pass on their way into this queue. */
export function codecOf(
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
