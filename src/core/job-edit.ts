import { encodeJobOptions, type JobOptions } from './enqueue-options.js';
import { HowdahError } from './errors.js';
import { encodeJson } from './json.js';
import { assertPriority } from './queue.js';

/** What can be changed of a job that waits. What is left out stays. */
export interface JobEdit extends Pick<JobOptions, 'delay' | 'runAt' | 'priority' | 'headers'> {
  /** Replaces the payload: any JSON value, within the bounds of the queue. No schema is applied. */
  readonly payload?: unknown;
}

const KEYS: readonly string[] = ['payload', 'headers', 'priority', 'delay', 'runAt'];

/**
 * Checks the changes and encodes them for the SQL function.
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @throws HowdahError HOWDAH_EDIT_INVALID, HOWDAH_PAYLOAD_INVALID, HOWDAH_PRIORITY_INVALID, ...
 */
export function encodeJobEdit(edit: JobEdit, now: number): string {
  const { payload, priority, ...options } = edit;
  const unknown = Object.keys(edit).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw invalid(`A job cannot be changed by ${unknown}.`);
  const members = encodeJobOptions(options, 0, now);
  if (priority !== undefined) assertPriority(priority);
  const text = [
    payload === undefined ? '' : `,"payload":${encodeJson(payload, 'payload')}`,
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
