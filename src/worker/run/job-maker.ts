import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import { PermanentError } from '../../core/job/outcome.js';
import { validatePayload } from '../../core/job/payload.js';
import type { AnyQueue } from '../../core/queue/queue.js';
import type { ClaimedRow } from '../../db/calls/claim.js';
import type { Binding } from '../handler/binding.js';
import { type Attempt, toJob } from '../settle/attempt.js';
import { openRow } from './open-row.js';

/** Makes the job that a handler sees: with a schema, its payload is what the schema returns. */
export type JobMaker = (row: ClaimedRow, attempt: Attempt) => Job | Promise<Job>;

/**
 * How jobs of a binding are made. A payload that does not fit the schema can never succeed: a
 * {@link PermanentError} that names the issues. One that cannot be decoded may be at another attempt: by a
 * worker that has the codec and its keys.
 */
export function jobMakerOf(binding: Binding, codecs?: Codecs): JobMaker {
  const { name } = binding;
  const make = validatorOf(binding);
  return (claimed, attempt) => {
    const row = openRow(claimed, name, codecs);
    if (codecs) attempt.headers = row[5]?.[5] ?? undefined;
    return make(row);
  };
}

function validatorOf({ queue, name }: Binding): (row: ClaimedRow) => Job | Promise<Job> {
  if (typeof queue === 'string' || !queue.schema) return (row) => toJob(row, name, row[1]);
  return (row) => {
    let payload: unknown;
    try {
      payload = validatePayload(queue as AnyQueue, row[1]);
    } catch (error) {
      throw permanent(error);
    }
    if (!(payload instanceof Promise)) return toJob(row, name, payload);
    return payload.then(
      (valid) => toJob(row, name, valid),
      (error) => {
        throw permanent(error);
      },
    );
  };
}

/** A schema that itself failed, for want of a service perhaps, may do better at the next attempt. */
function permanent(error: unknown): unknown {
  if (!(error instanceof HowdahError) || !error.details.issues) return error;
  return Object.assign(new PermanentError(error.message, { cause: error }), { code: error.code });
}
