import type { CronTimes } from './cron.js';

/**
 * A nominal time that is decided later than this is missed: long enough for another leader to take over,
 * short enough that nobody takes it for the real time.
 */
const LATE_MS = 60_000;

/**
 * What to do about nominal times that were missed, because no worker ran or the queue refused the
 * job: nothing; one job for all of them, the latest; a job for each, up to a bound.
 */
export type MissedPolicy = 'skip' | 'once' | 'all';

/** A schedule as it stands. Times are milliseconds since 1970. */
export interface Standing {
  /** Everything up to here is decided. */
  readonly afterMs: number;
  /** The first time after it, where it has been worked out before. */
  readonly nextMs: number | null;
  readonly nowMs: number;
  readonly missed: MissedPolicy;
  /** Of those missed, at most so many of the latest get a job under `all`. */
  readonly missedMax: number;
  /** Most jobs of this decision; what is left is decided in the next. */
  readonly runsMax: number;
}

/** What is due, and what comes then. */
interface Decision {
  /** Nominal times that get a job each, the oldest first. */
  readonly runs: readonly number[];
  /** The last one that gets none; null: each gets its own, or one stands for it. */
  readonly skipped: number | null;
  /** Everything up to here is decided now. */
  readonly after: number;
  /** The first time after it. */
  readonly next: number | null;
}

/** Decides which nominal times up to now get a job. */
export function decideTimes(times: CronTimes, standing: Standing): Decision {
  const { afterMs, nextMs, nowMs, runsMax } = standing;
  const first = nextMs ?? times.next(afterMs);
  if (first === undefined || first > nowMs) {
    return { runs: [], skipped: null, after: afterMs, next: first ?? null };
  }
  const { runs, skipped } = chooseTimes(times, standing, first);
  const now = runs.slice(0, Math.max(1, runsMax));
  const after = Math.max(afterMs, skipped ?? afterMs, now.at(-1) ?? afterMs);
  return { runs: now, skipped, after, next: times.next(after) ?? null };
}

function chooseTimes(
  times: CronTimes,
  { nowMs, missed, missedMax }: Standing,
  first: number,
): Pick<Decision, 'runs' | 'skipped'> {
  const lateMs = nowMs - LATE_MS;
  const onTime: number[] = [];
  let time = first > lateMs ? first : times.next(lateMs);
  for (; time !== undefined && time <= nowMs; time = times.next(time)) onTime.push(time);
  if (first > lateMs) return { runs: onTime, skipped: null };
  const before = onTime[0] ?? nowMs + 1_000;
  const count = missed === 'all' ? missedMax + 1 : 1;
  const late = times.last(before, count).filter((each) => each >= first && each <= nowMs);
  const latest = late.at(-1) ?? null;
  if (missed === 'skip') return { runs: onTime, skipped: latest };
  if (missed === 'once') {
    return { runs: onTime.length > 0 || latest === null ? onTime : [latest], skipped: null };
  }
  const made = late.slice(-missedMax);
  return {
    runs: [...made, ...onTime],
    skipped: late.length > made.length ? (late[0] ?? null) : null,
  };
}
