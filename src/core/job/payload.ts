import { looksEncoded } from '../codec/codec.js';
import { HowdahError } from '../errors.js';
import { encodeJson } from '../json.js';
import type { AnyQueue, Queue } from '../queue/queue.js';
import { writtenLength } from '../written-length.js';
import { describeIssue, type StandardSchemaResult } from './standard-schema.js';

const ISSUES_SHOWN_MAX = 3;

/**
 * Encodes a payload for a queue: as JSON that loses nothing, within the bound the queue declares,
 * and valid for its schema as the handler will see it, that is after its way through JSON. What is
 * stored is what was handed over, not what the schema made of it.
 * @param encode what a codec makes of the text; the bound of the queue is for what that returns
 * @returns the JSON text to store; a promise only where the schema is asynchronous
 * @throws HowdahError HOWDAH_PAYLOAD_INVALID, HOWDAH_PAYLOAD_TOO_LARGE, HOWDAH_CODEC_FAILED
 */
export function encodePayload(
  target: AnyQueue | string,
  payload: unknown,
  encode?: (text: string) => string,
): string | Promise<string> {
  const text = encodeJson(payload, 'payload');
  if (looksEncoded(payload)) throw reserved();
  const stored = encode ? encode(text) : text;
  if (typeof target === 'string') return stored;
  const max = target.policy.payloadBytesMax;
  const bytes = max === undefined ? 0 : writtenLength(stored, max);
  if (max !== undefined && bytes > max) throw tooLarge(target.name, bytes, max);
  if (!target.schema) return stored;
  try {
    const checked = validatePayload(target, JSON.parse(text));
    return isPromise(checked) ? checked.then(() => stored) : stored;
  } catch (error) {
    const { issues } = (error as HowdahError).details;
    if (!issues || !fitsBeforeJson(target, payload)) throw error;
    throw misfit(
      `payload fits the schema of queue ${target.name} only until it is JSON`,
      target,
      issues as readonly string[],
      'Let the schema accept the JSON form, for instance z.coerce.date() for a date.',
    );
  }
}

/**
 * Checks a payload by the schema of its queue and returns what the schema makes of it; without a
 * schema the payload as it is.
 * @returns a promise only where the schema is asynchronous
 * @throws HowdahError HOWDAH_PAYLOAD_INVALID with `details.issues`; may reject with it instead
 */
export function validatePayload<Out>(
  definition: Queue<string, never, Out, unknown>,
  payload: unknown,
): Out | Promise<Out> {
  const { schema } = definition;
  if (!schema) return payload as Out;
  let result: StandardSchemaResult<unknown> | Promise<StandardSchemaResult<unknown>>;
  try {
    result = schema['~standard'].validate(payload);
  } catch (cause) {
    throw schemaFailed(definition, cause);
  }
  if (!isPromise(result)) return accept(definition, result) as Out;
  return result.then(
    (awaited) => accept(definition, awaited) as Out,
    (cause) => {
      throw schemaFailed(definition, cause);
    },
  );
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Partial<Promise<T>> | null | undefined)?.then === 'function';
}

/** The handler would refuse what the producer's types allow: `z.date()`, for instance. */
function fitsBeforeJson(definition: AnyQueue, payload: unknown): boolean {
  try {
    return !isPromise(validatePayload(definition, payload));
  } catch {
    return false;
  }
}

function misfit(
  problem: string,
  definition: AnyQueue,
  issues: readonly string[],
  remedy?: string,
): HowdahError {
  const more = issues.length > ISSUES_SHOWN_MAX ? `; ${issues.length - ISSUES_SHOWN_MAX} more` : '';
  const shown = issues.slice(0, ISSUES_SHOWN_MAX).join('; ') + more;
  return new HowdahError('HOWDAH_PAYLOAD_INVALID', `${problem}: ${shown}.`, {
    details: { queue: definition.name, issues },
    ...(remedy ? { remedy } : {}),
  });
}

function accept(definition: AnyQueue, result: StandardSchemaResult<unknown>): unknown {
  if (!result.issues) return result.value;
  throw misfit(
    `payload does not fit the schema of queue ${definition.name}`,
    definition,
    result.issues.map(describeIssue),
  );
}

function schemaFailed(definition: AnyQueue, cause: unknown): HowdahError {
  return new HowdahError(
    'HOWDAH_PAYLOAD_INVALID',
    `the schema of queue ${definition.name} threw while it checked a payload.`,
    { cause, details: { queue: definition.name } },
  );
}

/** It would be taken for one that a codec has encoded. */
function reserved(): HowdahError {
  return new HowdahError('HOWDAH_PAYLOAD_INVALID', 'payload has the reserved key $howdah.', {
    remedy: 'Put it one level down, or name it otherwise.',
  });
}

function tooLarge(name: string, bytes: number, max: number): HowdahError {
  return new HowdahError(
    'HOWDAH_PAYLOAD_TOO_LARGE',
    `payload has ${bytes} bytes, queue ${name} allows ${max}.`,
    {
      details: { queue: name, bytes, max },
      remedy: 'Store large data elsewhere and enqueue a reference, or raise payloadBytesMax.',
    },
  );
}
