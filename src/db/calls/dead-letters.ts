import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { withPlainTimes } from '../times.js';

/** A dead job that was, or would be, sent back. */
export interface RedrivenRow {
  readonly id: string;
  /** The dead-letter queue it lay in. */
  readonly from: string;
  /** Null: its own queue is gone and no other was named, so it stays. */
  readonly to: string | null;
  readonly reason: string | null;
  /** Message of its last error. */
  readonly error: string | null;
}

/** A dead job that was, or would be, discarded. */
export interface DiscardedRow {
  readonly id: string;
  /** The queue it came from; null when that is gone. */
  readonly queue: string | null;
  readonly reason: string | null;
  /** Message of its last error. */
  readonly error: string | null;
}

/** Dead jobs whose last errors are alike. */
export interface DeadLetterGroup {
  /** Null: they have no error. */
  readonly fingerprint: string | null;
  readonly jobs: number;
  /** Of the error of the one that died last. */
  readonly name: string | null;
  readonly message: string | null;
  /** Where they came from. */
  readonly queues: readonly string[];
  readonly firstDeadAt: Date;
  readonly lastDeadAt: Date;
  /** The one that died last. */
  readonly id: string;
}

/** What to do with dead jobs; filters are JSON objects as the SQL functions take them. */
interface DeadLetterCalls {
  redrive(
    executor: Executor,
    filter: string,
    limit: number,
    isPreview: boolean,
    to: string | null,
    rate: number | null,
  ): Promise<RedrivenRow[]>;
  discard(
    executor: Executor,
    filter: string,
    limit: number,
    isPreview: boolean,
  ): Promise<DiscardedRow[]>;
  groups(
    executor: Executor,
    queue: string | null,
    deadLetterQueue: string | null,
    limit: number,
  ): Promise<DeadLetterGroup[]>;
}

/** The calls of {@link DeadLetterCalls}; they are rare, so their statements are not prepared. */
export function deadLetterCalls(database: Database): DeadLetterCalls {
  const redrive = {
    text: database.sql(
      `select id, from_queue as "from", to_queue as "to", reason, error
      from {{schema}}.redrive($1::text::jsonb, $2, $3, $4, $5)`,
    ),
  };
  const discard = {
    text: database.sql(
      'select id, queue, reason, error from {{schema}}.discard($1::text::jsonb, $2, $3)',
    ),
  };
  const groups = {
    text: database.sql(
      withPlainTimes(`select fingerprint, jobs::integer, name, message,
        to_json(coalesce(queues, '{}')) as queues,
        first_dead_at as "firstDeadAt", last_dead_at as "lastDeadAt", id
      from {{schema}}.dead_letter_groups($1, $2, $3)`),
    ),
  };
  return {
    redrive: (executor, filter, limit, isPreview, to, rate) =>
      executor.query(redrive, [filter, limit, isPreview, to, rate]),
    groups: (executor, queue, deadLetterQueue, limit) =>
      executor.query(groups, [queue, deadLetterQueue, limit]),
    discard: (executor, filter, limit, isPreview) =>
      executor.query(discard, [filter, limit, isPreview]),
  };
}
