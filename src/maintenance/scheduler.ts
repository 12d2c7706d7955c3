import { HowdahError } from '../core/errors.js';
import { type CronTimes, cronTimes } from '../core/schedule/cron.js';
import { decideTimes } from '../core/schedule/nominal-times.js';
import type { DueSchedule, SchedulePlan, SchedulingCalls } from '../db/calls/scheduling.js';
import type { Executor } from '../db/executor.js';
import type { Duty, DutyResult } from './duty.js';

/** Schedules of one round: a new expression takes some 0.2 ms, and handlers share this event loop. */
const LIMIT = 500;
/** Jobs of one statement, and their size; one job is always tried. */
const JOBS_MAX = 2_000;
const BYTES_MAX = 8 * 1_048_576;
/** How often it looks although nobody said that a schedule has changed. */
const INTERVAL_MS = 2_000;
/** Expressions that are kept ready. */
const CACHED_MAX = 10_000;

/**
 * Cron schedules fire on time: it sleeps until the next one is due, and a notice wakes it when one
 * has changed. What is due, and what time it is, the database says; here the times are worked out.
 */
export function scheduler(executor: Executor, calls: SchedulingCalls): Duty {
  const cache = new Map<string, CronTimes | string>();
  return {
    name: 'schedule',
    intervalMs: INTERVAL_MS,
    rests: true,
    noticedBy: 's',
    async runOnce(): Promise<DutyResult> {
      const { due, nowMs, nextMs } = await calls.due(executor, LIMIT);
      if (due.length === 0) return { counts: {}, nextMs: nextMs ?? undefined };
      const plans = planSchedules(due, nowMs, cache);
      const { planned, enqueued, refused, skipped } = await calls.fire(executor, plans);
      // where none was carried out another leader is at it: no hurry
      return { counts: { enqueued, refused, skipped }, hasMore: planned > 0 };
    },
  };
}

/** Works the times out, for as many schedules as one statement bears. */
function planSchedules(
  due: readonly DueSchedule[],
  nowMs: number,
  cache: Map<string, CronTimes | string>,
): readonly SchedulePlan[] {
  const plans: SchedulePlan[] = [];
  let jobs = 0;
  let bytes = 0;
  for (const each of due) {
    if (jobs >= JOBS_MAX || bytes >= BYTES_MAX) break;
    const room = Math.min(JOBS_MAX - jobs, Math.ceil((BYTES_MAX - bytes) / each.bytes));
    const plan = planOne(each, nowMs, room, cache);
    jobs += plan.runs.length;
    bytes += plan.runs.length * each.bytes;
    plans.push(plan);
  }
  return plans;
}

function planOne(
  { id, revision, cron, zone, afterMs, nextMs, missed, missedMax }: DueSchedule,
  nowMs: number,
  runsMax: number,
  cache: Map<string, CronTimes | string>,
): SchedulePlan {
  const times = timesOf(cron, zone, cache);
  if (typeof times === 'string') {
    return { id, revision, runs: [], skipped: null, after: afterMs, next: null, error: times };
  }
  const decision = decideTimes(times, { afterMs, nextMs, nowMs, missed, missedMax, runsMax });
  const error = decision.next === null ? `Cron expression ${cron} matches no more.` : null;
  return { id, revision, ...decision, error };
}

/** The times of an expression, or what is wrong with it. */
function timesOf(
  cron: string,
  zone: string,
  cache: Map<string, CronTimes | string>,
): CronTimes | string {
  const key = `${zone} ${cron}`;
  let times = cache.get(key);
  if (times === undefined) {
    times = read(cron, zone);
    if (cache.size >= CACHED_MAX) cache.clear();
    cache.set(key, times);
  }
  return times;
}

function read(cron: string, zone: string): CronTimes | string {
  try {
    return cronTimes(cron, zone);
  } catch (error) {
    return error instanceof HowdahError ? `${error.code}: ${error.message}` : String(error);
  }
}
