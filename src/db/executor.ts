import { createHash } from 'node:crypto';

/** SQL text sent to the server. */
export interface Statement {
  readonly text: string;
  /**
   * Prepared once per connection under this name. Names are short and belong to one text only; make
   * them with {@link prepare}. Absent: sent unnamed.
   */
  readonly name?: string;
  /** `'array'`: each row is an array in column order, which is cheaper on the hot path. */
  readonly rowMode?: 'array';
}

/** Whatever runs a statement: a pool, a connection or a transaction. */
export interface Executor {
  /**
   * Runs one statement and returns its rows. `bigint` arrives as text, `timestamptz` as Date.
   * @throws HowdahError, never a raw driver error
   */
  query<R extends object>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
}

/** A connection of its own, not of the pool. */
export interface Session extends Executor {
  /** Process id of the server process. */
  readonly processId: number;
  /**
   * A transaction pooler sits in between: LISTEN delivers nothing, and settings of this connection
   * would reach other clients, so none were made.
   */
  readonly isPooled: boolean;
  /** Called once when the connection is lost, at once if it already is; never after {@link close}. */
  onLost(listener: (error: Error) => void): void;
  /** Notifications of the channel go to the listener; a second listener replaces the first. */
  listen(channel: string, onNotify: (payload: string) => void): Promise<void>;
  unlisten(channel: string): Promise<void>;
  /** Idempotent; takes at most about two seconds, even when the server does not answer. */
  close(): Promise<void>;
}

/** A statement prepared once per connection; the name carries a digest of the text. */
export function prepare(name: string, text: string, rowMode?: 'array'): Statement {
  const digest = createHash('sha1').update(text).digest('hex').slice(0, 8);
  const full = `howdah_${name}_${digest}`;
  return rowMode ? { name: full, text, rowMode } : { name: full, text };
}
