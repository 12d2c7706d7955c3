import type { JobError } from '../job/job.js';
import { type CodecPlace, type Codecs, isEnvelope, type StoredPlace } from './codec.js';
import type { ErrorSnapshot } from './error-snapshot.js';

/**
 * An error as it is stored. Encoded, the name of its class stays readable beside it, so that dead letters can
 * be told apart. Never throws: what cannot be encoded is left out, for it must not be stored as it is.
 */
export function encodeError(
  codecs: Codecs | undefined,
  error: ErrorSnapshot,
  place: CodecPlace,
): object {
  if (!codecs) return error;
  const { name } = error;
  try {
    const envelope = codecs.envelope('error', error, place);
    return envelope ? { ...envelope, name, message: `encoded by ${envelope.$howdah}` } : error;
  } catch {
    return { name, message: 'the codec could not encode the error', code: 'HOWDAH_CODEC_FAILED' };
  }
}

/** Stored errors of a job, decoded; those that cannot be are left as they are stored. Never throws. */
export function decodeErrors(
  codecs: Codecs | undefined,
  errors: readonly JobError[],
  place: StoredPlace,
): readonly JobError[] {
  if (!codecs || !errors.some(isEnvelope)) return errors;
  return errors.map((stored) => {
    if (!isEnvelope(stored)) return stored;
    try {
      const { attempt, at } = stored as JobError;
      return { ...(codecs.decode('error', stored, place) as ErrorSnapshot), attempt, at };
    } catch {
      return stored;
    }
  });
}
