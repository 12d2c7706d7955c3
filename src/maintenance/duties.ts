import type { Clock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import { type MaintenanceCalls, maintenanceCalls } from '../db/calls/maintenance.js';
import { schedulingCalls } from '../db/calls/scheduling.js';
import type { Database } from '../db/database.js';
import type { Executor } from '../db/executor.js';
import type { Duty } from './duty.js';
import { promoter } from './promoter.js';
import { scheduler } from './scheduler.js';
import { Turns } from './turns.js';

const LIMIT = 1_000;
const ROLL_UP_LIMIT = 10_000;
/** A million jobs are walked over in a quarter of an hour. */
const ORPHANS_LIMIT = 10_000;
const ORPHANS_MS = 10_000;
/** How often it is looked whether there are jobs at all. */
const NO_JOBS_MS = 60_000;
const HOUR_MS = 3_600_000;
const PRUNE_FIRST_MS = 10_000;
/** Each background duty begins on a connection that has to warm up, beside a worker that begins too. */
const BACKGROUND_FIRST_MS = 400;
/** Most rows that a run takes out of the default partition of the history. */
const CLEARED_MAX = 10_000;
/** Of the 100 leases that a call looks at so many were ended: there are more, and not all held by somebody. */
const REAPED_MANY = 10;
/** Part of the time that background duties may take. */
const SHARE = 0.05;

/** What the leader does, in the order of urgency. @param leaseMs the length of leases to watch */
export function dutiesOf(database: Database, clock: Clock, leaseMs: number): readonly Duty[] {
  const calls = maintenanceCalls(database);
  const turns = new Turns(clock);
  return [
    promoter(database, calls, clock),
    scheduler(database, schedulingCalls(database)),
    reaper(database, calls, leaseMs),
    turns.of(sweeper(database, calls)),
    turns.of(expirer(database, calls)),
    turns.of(rollUp(database, calls)),
    turns.of(tender(database, calls)),
    turns.of(batchFolder(database, calls)),
    turns.of(orphanFinder(database, calls)),
    pruner(database, calls),
    mender(database, calls),
  ];
}

/**
 * A dead worker's jobs run elsewhere. After an outage of the database living workers get a moment to
 * renew their leases before anybody is declared dead.
 */
function reaper(executor: Executor, calls: MaintenanceCalls, leaseMs: number): Duty {
  return {
    name: 'reap',
    intervalMs: Math.min(1_000, Math.max(200, leaseMs / 10)),
    rests: true,
    graceMs: Math.min(3_000, leaseMs / 2),
    async runOnce() {
      const counts = await calls.reap(executor, LIMIT);
      const hasMore = counts.requeued + counts.dead >= LIMIT || counts.leases >= REAPED_MANY;
      return { counts: { ...counts }, hasMore };
    },
  };
}

/** Jobs that were committed behind every cursor are found. */
function sweeper(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'sweep',
    intervalMs: 1_000,
    rests: true,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE,
    async runOnce() {
      const swept = await calls.sweep(executor, LIMIT);
      return { counts: { swept }, hasMore: swept >= LIMIT };
    },
  };
}

/** Jobs that have waited longer than their TTL end. */
function expirer(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'expire',
    intervalMs: 1_000,
    rests: true,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE * 4,
    async runOnce() {
      const expired = await calls.expire(executor, LIMIT);
      return { counts: { expired }, hasMore: expired >= LIMIT };
    },
  };
}

/** Counters are folded, so that statistics stay cheap to read. */
function rollUp(executor: Executor, calls: MaintenanceCalls): Duty {
  let mark = '0';
  let looks = 0;
  // now and then from the beginning, for transactions that committed late
  const from = (): string => (looks++ % 10 === 0 ? '0' : mark);
  return {
    name: 'roll-up',
    intervalMs: 1_000,
    rests: from,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE,
    async runOnce() {
      const found = await calls.rollUp(executor, ROLL_UP_LIMIT, from());
      mark = found.mark;
      return { counts: { rolled: found.rolled }, hasMore: found.rolled >= ROLL_UP_LIMIT };
    },
  };
}

/** Jobs whose lease is not there are found by a slow walk over all jobs, some thousand at a time. */
function orphanFinder(executor: Executor, calls: MaintenanceCalls): Duty {
  let mark = '0';
  return {
    name: 'find-orphans',
    intervalMs: NO_JOBS_MS,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE,
    async runOnce() {
      const {
        looked,
        orphans,
        mark: next,
      } = await calls.findOrphans(executor, mark, ORPHANS_LIMIT);
      mark = next;
      return { counts: { orphans }, nextMs: looked > 0 ? ORPHANS_MS : undefined };
    },
  };
}

/** Pauses and waits of queues end, and priorities age. */
function tender(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'tend',
    intervalMs: 1_000,
    rests: true,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE * 4,
    async runOnce() {
      const counts = await calls.tend(executor, LIMIT);
      return { counts: { ...counts }, hasMore: counts.aged >= LIMIT || counts.opened >= LIMIT };
    },
  };
}

/** Batches whose last jobs ended without seeing that they were the last are followed all the same. */
function batchFolder(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'fold-batches',
    intervalMs: 1_000,
    rests: true,
    firstMs: BACKGROUND_FIRST_MS,
    share: SHARE * 4,
    async runOnce() {
      const { folded, finished, hasMore } = await calls.foldBatches(executor, LIMIT);
      return { counts: { folded, finished }, hasMore };
    },
  };
}

/** Partitions of the history are made ahead and dropped when their time is over. */
function pruner(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'prune',
    intervalMs: HOUR_MS,
    // not while a fleet that was just started has better things to do
    firstMs: PRUNE_FIRST_MS,
    async runOnce() {
      const { problems, ...counts } = await calls.prune(executor);
      const hasMore = counts.cleared >= CLEARED_MAX;
      return { counts, hasMore, ...(problems && { problem: unfinished(problems) }) };
    },
  };
}

/** A database that was restored or switched over draws no number twice: looked at by each new leader. */
function mender(executor: Executor, calls: MaintenanceCalls): Duty {
  return {
    name: 'mend',
    intervalMs: HOUR_MS,
    async runOnce() {
      const mended = await calls.mend(executor);
      return { counts: { mended: mended.length } };
    },
  };
}

function unfinished(problems: readonly string[]): HowdahError {
  return new HowdahError(
    'HOWDAH_DATABASE_ERROR',
    `Housekeeping goes on without: ${problems.join('; ')}.`,
    {
      details: { problems },
      remedy: 'Everything else was done. Remove what is in the way; it is tried again every hour.',
    },
  );
}
