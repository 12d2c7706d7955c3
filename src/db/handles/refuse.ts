import { HowdahError } from '../../core/errors.js';

/** @param problem completes "The handle given as `tx` cannot be used: ..." */
export function refuse(problem: string, remedy: string): HowdahError {
  return new HowdahError(
    'HOWDAH_TRANSACTION_INVALID',
    `The handle given as \`tx\` cannot be used: ${problem}.`,
    { remedy },
  );
}

/** The handle's transaction is beyond use. */
export function refuseAborted(): HowdahError {
  return refuse(
    'its transaction is aborted, because an earlier statement in it failed',
    'Roll back and run the whole transaction again.',
  );
}

/** The error of a handle whose function keeps back what the statement returned. */
export function refuseRows(): HowdahError {
  return refuse(
    'it did not return the rows of the statement',
    'Return an array of objects: (sql, params) => client.query(sql, params).then((r) => r.rows).',
  );
}
