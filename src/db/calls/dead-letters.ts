import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

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

/** What to do with dead jobs; filters are JSON objects as the SQL functions take them. */
export interface DeadLetterCalls {
  redrive(
    executor: Executor,
    filter: string,
    limit: number,
    isPreview: boolean,
    to: string | null,
  ): Promise<RedrivenRow[]>;
  discard(
    executor: Executor,
    filter: string,
    limit: number,
    isPreview: boolean,
  ): Promise<DiscardedRow[]>;
}

/** The calls of {@link DeadLetterCalls}; they are rare, so their statements are not prepared. */
export function deadLetterCalls(database: Database): DeadLetterCalls {
  const redrive = {
    text: database.sql(
      `select id, from_queue as "from", to_queue as "to", reason, error
      from {{schema}}.redrive($1::text::jsonb, $2, $3, $4)`,
    ),
  };
  const discard = {
    text: database.sql(
      'select id, queue, reason, error from {{schema}}.discard($1::text::jsonb, $2, $3)',
    ),
  };
  return {
    redrive: (executor, filter, limit, isPreview, to) =>
      executor.query(redrive, [filter, limit, isPreview, to]),
    discard: (executor, filter, limit, isPreview) =>
      executor.query(discard, [filter, limit, isPreview]),
  };
}
