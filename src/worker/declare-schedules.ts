import type { EncodedSchedule } from '../core/schedule/schedule.js';
import { scheduleCalls } from '../db/calls/schedules.js';
import type { Database } from '../db/database.js';
import type { Declarations } from '../db/declarations.js';
import { isHeld } from '../db/patience.js';

const LOCK_MS = 100;

/** The list as `sync_schedules` takes it; its queues are declared. */
export async function encodeSync(
  declarations: Declarations,
  schedules: readonly EncodedSchedule[],
): Promise<string> {
  await declarations.ensureAll(schedules.flatMap(({ queue }) => queue ?? []));
  // the rule for names leaves nothing to escape
  const texts = schedules.map(
    async ({ name, text }) => `{"name":"${name}",${(await text).slice(1)}`,
  );
  return `[${(await Promise.all(texts)).join(',')}]`;
}

/**
 * Makes the schedules of an owner in the database those of a list: creates, changes, renames, removes.
 * @returns false: somebody's transaction holds them, nothing was done
 * @throws HowdahError HOWDAH_SCHEDULE_EXISTS where a name is another owner's, HOWDAH_QUEUE_UNKNOWN, ...
 */
export async function declareSchedules(
  database: Database,
  owner: string,
  schedules: string,
): Promise<boolean> {
  try {
    await scheduleCalls(database).syncPatiently(database, owner, schedules, LOCK_MS);
    return true;
  } catch (error) {
    if (isHeld(error)) return false;
    throw error;
  }
}
