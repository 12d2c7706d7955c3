import { countOption, givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { inspectCalls } from '../../db/calls/inspect.js';
import type { Database } from '../../db/database.js';
import type { BlockedGroupsView } from '../../db/tables.js';

/** A group in which jobs wait for their turn. */
export interface BlockedGroup {
  readonly queue: string;
  readonly group: string;
  /** Jobs that wait. */
  readonly waiting: number;
  /** Jobs that have a turn: ready, running, or scheduled for another attempt. */
  readonly admitted: number;
  /** Of those, the one that got its turn last; null where it has ended. */
  readonly headId: string | null;
  readonly headState: 'running' | 'ready' | 'scheduled' | null;
  /** For what the group waits, such as `head backs off until 2027-01-31T09:00:00Z`. */
  readonly reason: string;
  /** When the head got its turn. */
  readonly since: Date;
}

/** Which groups to list: the longest blocked first. */
export interface BlockedGroupOptions {
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
}

const OPTIONS: KnownKeys<BlockedGroupOptions> = { limit: true };

/** `client.groups`: looks at groups. */
export class Groups {
  readonly #inspect;

  /** Made by the client. */
  constructor(database: Database) {
    this.#inspect = inspectCalls(database);
  }

  /**
   * Groups of a queue in which jobs wait, with the reason, the longest blocked first; at most `limit`
   * (100, up to 1000).
   * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID, HOWDAH_OPTION_INVALID
   */
  async blocked(
    queue: AnyQueue | string,
    options: BlockedGroupOptions = {},
  ): Promise<readonly BlockedGroup[]> {
    const limit = countOption('limit', givenOptions('options', options, OPTIONS).limit, 100, 1000);
    const rows = await this.#inspect.blockedGroups(nameOf(queue), limit);
    return rows.map(blockedGroupOf);
  }
}

function blockedGroupOf(row: BlockedGroupsView): BlockedGroup {
  return {
    queue: row.queue,
    group: row.group_key,
    waiting: row.waiting,
    admitted: row.admitted,
    headId: row.head_id,
    headState: row.head_state,
    reason: row.reason,
    since: row.since,
  };
}
