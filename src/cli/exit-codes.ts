import { HowdahError, type HowdahErrorCode } from '../core/errors.js';

/** What the exit code of `howdah` tells a script. */
export const EXIT = {
  ok: 0,
  /** It did not work, or a check failed. */
  failure: 1,
  /** The command line, or a value in it, cannot be used; nothing was done. */
  usage: 2,
  /** A queue, job, batch or dead letter that was named is not there. */
  notFound: 3,
  /** Done in part: lines were skipped, or some of the jobs that were named could not be changed. */
  partial: 4,
} as const;

const USAGE: ReadonlySet<HowdahErrorCode> = new Set<HowdahErrorCode>([
  'HOWDAH_OPTION_INVALID',
  'HOWDAH_HANDLER_INVALID',
  'HOWDAH_QUEUE_NAME_INVALID',
  'HOWDAH_POLICY_INVALID',
  'HOWDAH_PAYLOAD_INVALID',
  'HOWDAH_PAYLOAD_TOO_LARGE',
  'HOWDAH_PRIORITY_INVALID',
  'HOWDAH_DELAY_INVALID',
  'HOWDAH_RUN_AT_INVALID',
  'HOWDAH_HEADERS_INVALID',
  'HOWDAH_ATTEMPTS_INVALID',
  'HOWDAH_TTL_INVALID',
  'HOWDAH_GROUP_INVALID',
  'HOWDAH_FILTER_INVALID',
  'HOWDAH_WEIGHT_INVALID',
  'HOWDAH_CIRCUIT_INVALID',
  'HOWDAH_HOLD_INVALID',
  'HOWDAH_RECEIVE_INVALID',
  'HOWDAH_REDRIVE_INVALID',
  'HOWDAH_STOP_INVALID',
  'HOWDAH_LEASE_INVALID',
  'HOWDAH_BATCH_INVALID',
  'HOWDAH_TOPIC_INVALID',
  'HOWDAH_SCHEDULE_INVALID',
  'HOWDAH_SCHEDULE_EXISTS',
  'HOWDAH_CRON_INVALID',
  'HOWDAH_ZONE_INVALID',
  'HOWDAH_EDIT_INVALID',
]);

const NOT_FOUND: ReadonlySet<HowdahErrorCode> = new Set<HowdahErrorCode>([
  'HOWDAH_QUEUE_UNKNOWN',
  'HOWDAH_WORKER_UNKNOWN',
  'HOWDAH_SCHEDULE_UNKNOWN',
  'HOWDAH_JOB_UNKNOWN',
  'HOWDAH_BATCH_UNKNOWN',
]);

/** The exit code that an error stands for. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof HowdahError)) return EXIT.failure;
  if (NOT_FOUND.has(error.code)) return EXIT.notFound;
  return USAGE.has(error.code) ? EXIT.usage : EXIT.failure;
}
