import type { EncodedSchedule } from '../core/schedule.js';
import { scheduleCalls } from '../db/calls/schedules.js';
import type { Database } from '../db/database.js';
import { Declarations } from '../db/declarations.js';

/**
 * Makes the schedules of an owner in the database those of a list: creates, changes, renames, removes.
 * @throws HowdahError HOWDAH_SCHEDULE_EXISTS where a name is another owner's, HOWDAH_QUEUE_UNKNOWN, ...
 */
export async function declareSchedules(
  database: Database,
  owner: string,
  schedules: readonly EncodedSchedule[],
): Promise<void> {
  const declarations = new Declarations(database);
  const texts: string[] = [];
  for (const { name, queue, text } of schedules) {
    await declarations.ensure(queue);
    // the rule for names leaves nothing to escape
    texts.push(`{"name":"${name}",${(await text).slice(1)}`);
  }
  await scheduleCalls(database).sync(database, owner, `[${texts.join(',')}]`);
}
