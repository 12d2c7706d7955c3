import { Client } from '../client/client.js';
import { systemClock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import { givenObject, wholeNumber } from '../core/option.js';
import { type Duration, parseDuration } from '../core/time/duration.js';
import type { DatabaseOptions } from '../db/options.js';
import { createWorker } from '../runtime/create-worker.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import type { Binding } from '../worker/handler/binding.js';
import type { Counts } from '../worker/settle/tally.js';
import type { Worker } from '../worker/worker.js';

/** Jobs that are made due in one statement. */
const RUN_NOW_MAX = 1_000;

/** What to drain. */
export interface DrainOptions extends DatabaseOptions {
  /** What `work(queue, handler)` returned; other queues are left alone. */
  readonly queues: readonly Binding[];
  /** Also run what is due later: delayed jobs, retries, snoozes. Default false. */
  readonly scheduled?: boolean;
  /** With `scheduled`: how often what is due later may be run, 1 to 10,000. Default 100. */
  readonly rounds?: number;
  /** 1 ms to 24 h. Default 30 s. */
  readonly deadline?: Duration;
  /** Default: none. */
  readonly logger?: Logger;
}

/**
 * Runs every ready job of these queues to its end, and what these enqueue.
 * @returns how many attempts ended how
 * @throws HowdahError HOWDAH_TIMEOUT when the deadline passes, or when the rounds are used up because
 *   jobs are put off for ever; as `Worker.start` else
 */
export async function drain(options: DrainOptions): Promise<Counts> {
  givenObject('options', options);
  const { queues, scheduled = false, rounds, deadline, logger = silentLogger, ...rest } = options;
  const deadlineMs = parseDuration(deadline ?? '30s', 'deadline', { min: 1, max: 86_400_000 });
  const roundsMax = checkRounds(rounds);
  const until = systemClock.monotonic() + deadlineMs;
  const worker = createWorker({ ...rest, queues, logger, maintain: false });
  if (!scheduled) return runOnce(worker, until, deadlineMs);
  const client = new Client(rest);
  const total: { -readonly [K in keyof Counts]?: number } = {};
  try {
    for (let round = 0; round <= roundsMax; round++) {
      const counts = await runOnce(worker, until, deadlineMs);
      for (const key of Object.keys(counts) as (keyof Counts)[]) {
        total[key] = (total[key] ?? 0) + counts[key];
      }
      if ((await makeDue(client, queues)) === 0) return total as Counts;
    }
  } finally {
    await client.close();
  }
  throw new HowdahError('HOWDAH_TIMEOUT', `After ${roundsMax} rounds jobs are due later still.`, {
    details: { rounds: roundsMax },
    remedy: 'A handler that snoozes for ever never drains; raise rounds if it needs only more.',
  });
}

async function runOnce(worker: Worker, until: number, deadlineMs: number): Promise<Counts> {
  const left = Math.max(1, Math.ceil(until - systemClock.monotonic()));
  const { isDrained, ...counts } = await worker.runOnce({ deadline: left });
  if (isDrained) return counts;
  throw new HowdahError('HOWDAH_TIMEOUT', `The queues were not drained within ${deadlineMs} ms.`, {
    details: { deadlineMs, ...counts },
    remedy: 'Raise deadline, or look for a handler that does not return.',
  });
}

/** @returns how many jobs that were due later are ready now */
async function makeDue(client: Client, queues: readonly Binding[]): Promise<number> {
  let made = 0;
  for (const { name } of queues) {
    const jobs = await client.jobs.list({ queue: name, state: 'scheduled', limit: RUN_NOW_MAX });
    if (jobs.length > 0) await client.jobs.runNow(jobs.map(({ id }) => id));
    made += jobs.length;
  }
  return made;
}

function checkRounds(rounds = 100): number {
  return wholeNumber('rounds', rounds, 1, 10_000);
}
