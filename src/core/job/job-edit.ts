import { HowdahError } from '../errors.js';
import { assertPriority } from '../queue/queue.js';
import { encodeJobOptions, type JobOptions, type OptionsCodec } from './enqueue-options.js';
import { encodePayload } from './payload.js';

/** What can be changed of a job that waits. What is left out stays. */
export interface JobEdit extends Pick<JobOptions, 'delay' | 'runAt' | 'priority' | 'headers'> {
  /** Replaces the payload: any JSON value, within the bounds of the queue. No schema is applied. */
  readonly payload?: unknown;
}

const KEYS: readonly string[] = ['payload', 'headers', 'priority', 'delay', 'runAt'];

/**
 * Checks the changes and encodes them for the SQL function.
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @param codec what payload and headers pass
 * @throws HowdahError HOWDAH_EDIT_INVALID, HOWDAH_PAYLOAD_INVALID, HOWDAH_PRIORITY_INVALID, ...
 */
export function encodeJobEdit(
  edit: JobEdit,
  now: number,
  codec?: OptionsCodec & { readonly payload: (text: string) => string },
): string {
  const { payload, priority, ...options } = edit;
  const unknown = Object.keys(edit).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw invalid(`A job cannot be changed by ${unknown}.`);
  const members = encodeJobOptions(options, 0, now, codec);
  if (priority !== undefined) assertPriority(priority);
  // a queue by its name: no schema is applied
  const encode = (): unknown => encodePayload('', payload, codec?.payload);
  const text = [
    payload === undefined ? '' : `,"payload":${encode()}`,
    priority === undefined ? '' : `,"priority":${priority}`,
    members,
  ].join('');
  if (text === '') throw invalid('No change is given.');
  return `{${text.slice(1)}}`;
}

function invalid(message: string): HowdahError {
  return new HowdahError('HOWDAH_EDIT_INVALID', message, {
    remedy: `Known are ${KEYS.join(', ')}.`,
  });
}
