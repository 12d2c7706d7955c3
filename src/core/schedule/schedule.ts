import type { Codecs } from '../codec/codec.js';
import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';
import type { JobOptions } from '../job/enqueue-options.js';
import { jobEncoder } from '../job/job-text.js';
import type { AnyQueue, Queue } from '../queue/queue.js';
import { assertZone, cronTimes, normalizeCron } from './cron.js';
import type { MissedPolicy } from './nominal-times.js';

/** The most nominal times that `missed: 'all'` can make up for. */
const MISSED_MAX = 1_000;

/** When a schedule fires, and what becomes of times that were missed. */
interface ScheduleTimes {
  /**
   * 1 to 128 letters, digits and `. _ : / -`, beginning with a letter or digit; unique in the
   * installation.
   */
  readonly name: string;
  /**
   * Minute, hour, day of the month, month, day of the week; before them seconds, where there are six
   * fields. Runs are 2 seconds apart or more.
   */
  readonly cron: string;
  /** Name of a time zone, such as `Europe/Berlin`. Default `UTC`. */
  readonly zone?: string | undefined;
  /** What becomes of times later than a minute: `skip`, `once` (the default) or `all`. */
  readonly missed?: MissedPolicy | undefined;
  /** With `all`: at most so many, the latest, 1 to 1000. Default 100. */
  readonly missedMax?: number | undefined;
}

/** A cron schedule: each time it fires, a job is enqueued with this payload and these options. */
export interface Schedule<In = unknown> extends ScheduleTimes, Omit<JobOptions, 'runAt'> {
  /** A declared queue is created or altered; one that is given by name must exist. */
  readonly queue: Queue<string, In, unknown, unknown> | string;
  /** Default null. */
  readonly payload?: NoInfer<In>;
}

/** A schedule of any payload. */
export interface AnySchedule extends ScheduleTimes, Omit<JobOptions, 'runAt'> {
  readonly queue: AnyQueue | string;
  readonly payload?: unknown;
}

/** Checks nothing but types: the payload has to fit its queue. For lists of schedules. */
export function schedule<In>(definition: Schedule<In>): AnySchedule {
  return definition;
}

/** A schedule as the SQL functions take it. */
export interface EncodedSchedule {
  readonly name: string;
  readonly queue: AnyQueue | undefined;
  /** JSON; a promise only where the schema of the queue is asynchronous. */
  readonly text: string | Promise<string>;
}

/**
 * Checks a schedule and encodes it.
 * @param now milliseconds since 1970, only to refuse times too far ahead
 * @param codecs what payload, headers and dedupe key pass
 * @throws HowdahError HOWDAH_SCHEDULE_INVALID, HOWDAH_CRON_INVALID, HOWDAH_ZONE_INVALID,
 *   HOWDAH_QUEUE_NAME_INVALID, HOWDAH_PAYLOAD_INVALID, the code of a bad option of the job
 */
export function encodeSchedule(
  definition: AnySchedule,
  now: number,
  codecs?: Codecs,
): EncodedSchedule {
  if (typeof definition !== 'object' || definition === null) {
    throw invalid(
      'is',
      definition,
      "Use an object such as { name: 'nightly', cron: '0 3 * * *', queue }.",
    );
  }
  const { name, cron, zone = 'UTC', missed = 'once', missedMax = 100, ...rest } = definition;
  assertScheduleName(name);
  const expression = normalizeCron(cron);
  assertZone(zone);
  cronTimes(expression, zone);
  assertMissed(missed, missedMax);
  const { queue, payload = null, ...options } = rest;
  if ('runAt' in options) {
    throw new HowdahError('HOWDAH_SCHEDULE_INVALID', 'A schedule has no option runAt.', {
      details: { option: 'runAt' },
      remedy: 'The expression says when; use delay to run later than that.',
    });
  }
  const head = JSON.stringify({ cron: expression, zone, missed, missed_max: missedMax });
  // the text of the job begins with a brace, too
  const join = (job: string): string => `${head.slice(0, -1)},${job.slice(1)}`;
  const job = jobEncoder(queue, options, now, codecs)(payload);
  // one that is not awaited yet must not end the process
  if (typeof job !== 'string') job.catch(() => undefined);
  return {
    name,
    queue: typeof queue === 'string' ? undefined : queue,
    text: typeof job === 'string' ? join(job) : job.then(join),
  };
}

/**
 * Checks a list of schedules and encodes each.
 * @throws HowdahError as {@link encodeSchedule}; HOWDAH_SCHEDULE_EXISTS where two have one name
 */
export function encodeSchedules(
  list: unknown,
  now: number,
  codecs?: Codecs,
): readonly EncodedSchedule[] {
  if (!Array.isArray(list)) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Option schedules: ${describeValue(list)} is not valid.`,
      {
        details: { option: 'schedules' },
        remedy: 'Give an array of schedules.',
      },
    );
  }
  const encoded = (list as AnySchedule[]).map((each) => encodeSchedule(each, now, codecs));
  const names = new Set<string>();
  for (const { name } of encoded) {
    if (!names.has(name)) {
      names.add(name);
      continue;
    }
    throw new HowdahError(
      'HOWDAH_SCHEDULE_EXISTS',
      `Two schedules are named ${JSON.stringify(name)}.`,
      {
        details: { name },
        remedy: 'Give each a name of its own.',
      },
    );
  }
  return encoded;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;

/** @throws HowdahError HOWDAH_SCHEDULE_INVALID */
export function assertScheduleName(name: unknown): asserts name is string {
  if (typeof name === 'string' && NAME.test(name)) return;
  const remedy = 'Use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit.';
  throw invalid('name', name, remedy);
}

function assertMissed(missed: unknown, missedMax: unknown): void {
  if (missed !== 'skip' && missed !== 'once' && missed !== 'all') {
    throw invalid('missed', missed, 'Use skip, once or all.');
  }
  const max = missedMax as number;
  if (Number.isInteger(max) && max >= 1 && max <= MISSED_MAX) return;
  throw invalid('missedMax', missedMax, `Use a whole number from 1 to ${MISSED_MAX}.`);
}

function invalid(option: string, value: unknown, remedy: string): HowdahError {
  return new HowdahError(
    'HOWDAH_SCHEDULE_INVALID',
    `Schedule: ${option} ${describeValue(value)} is not valid.`,
    { details: { option, value }, remedy },
  );
}
