import { describeValue } from '../core/describe-value.js';
import { HowdahError } from '../core/errors.js';
import { givenObject } from '../core/option.js';
import { type Duration, parseDuration } from '../core/time/duration.js';
import { Database } from '../db/database.js';
import type { DatabaseOptions } from '../db/options.js';
import { moveClock, permitMoves, readNow } from '../db/testing/test-clock.js';

const TRAVEL_MS_MAX = 315_360_000_000;

/** How to reach a test database. */
export type TimeOptions = Pick<DatabaseOptions, 'url' | 'pool' | 'schema'>;

/**
 * Time of a test database, as Howdah sees it: what is due, which leases have ended, what is old. It
 * moves for every process that uses the schema; timers and Dates of JavaScript do not move. A worker
 * that runs while time leaps by more than its lease is taken for dead, as it would be.
 */
export interface TestTime {
  /** The time now. */
  now(): Promise<Date>;
  /**
   * Leaps ahead by a duration, up to 10 years, or to a Date, which may lie in the past.
   * @returns the time then
   */
  travel(to: Duration | Date): Promise<Date>;
  /** Time stands still from now on, or at this Date. */
  freeze(at?: Date): Promise<Date>;
  /** Time goes on from where it stands. */
  resume(): Promise<Date>;
  /** Back to the time of the server. */
  reset(): Promise<Date>;
}

/**
 * Controls the time of a database made by `createTestDatabase`. Each call needs one short
 * transaction, and waits for no worker.
 * @throws HowdahError HOWDAH_OPTION_INVALID; each call HOWDAH_CLOCK_FIXED in any other database
 */
export function testTime(options: TimeOptions): TestTime {
  givenObject('options', options);
  const use = <T>(run: (database: Database) => Promise<T>): Promise<T> => once(options, run);
  return {
    now: () => use((database) => readNow(database, database)),
    travel: async (to) => {
      const move =
        to instanceof Date
          ? ({ verb: 'set', at: checkDate(to) } as const)
          : ({ verb: 'travel', ms: parseDuration(to, 'travel', { max: TRAVEL_MS_MAX }) } as const);
      return use((database) => moveClock(database, move));
    },
    freeze: async (at) => {
      const checked = at === undefined ? undefined : checkDate(at);
      return use((database) => moveClock(database, { verb: 'freeze', at: checked }));
    },
    resume: () => use((database) => moveClock(database, { verb: 'resume' })),
    reset: () => use((database) => moveClock(database, { verb: 'reset' })),
  };
}

/**
 * Lets tests move the time of a schema that `createTestDatabase` has not made, for good. Never call
 * it for a database that anybody relies on: whoever owns the schema may then move its clock.
 */
export async function permitTimeTravel(options: TimeOptions): Promise<void> {
  givenObject('options', options);
  return once(options, permitMoves);
}

async function once<T>(options: TimeOptions, run: (database: Database) => Promise<T>): Promise<T> {
  const database = new Database({ ...options, ...(options.pool ? {} : { connectionsMax: 1 }) });
  try {
    return await run(database);
  } finally {
    await database.close();
  }
}

function checkDate(at: Date): Date {
  if (at instanceof Date && !Number.isNaN(at.getTime())) return at;
  throw new HowdahError('HOWDAH_OPTION_INVALID', `Time ${describeValue(at)} is not a valid Date.`, {
    details: { option: 'at' },
    remedy: 'Give a Date, or a duration such as 90000 or "90s" to travel.',
  });
}
