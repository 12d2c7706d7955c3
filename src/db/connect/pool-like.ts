import type { QueryConfig, QueryResult } from '../query.js';

/** A connection taken from a pool. */
export interface PoolClientLike {
  query(config: QueryConfig): Promise<QueryResult>;
  release(isUnusable?: boolean): void;
  /** Only of connections of our own: how many statements the server has called complete. */
  readonly completions?: number;
  on?(event: 'error', listener: (error: Error) => void): unknown;
  removeListener?(event: 'error', listener: (error: Error) => void): unknown;
}

/** What is used of a pg.Pool: any version of `pg`, or anything shaped like it. */
export interface PoolLike {
  connect(): Promise<PoolClientLike>;
  /** Idle connections that break are told of here, where somebody listens. */
  on?(event: 'error', listener: (error: Error) => void): unknown;
  removeListener?(event: 'error', listener: (error: Error) => void): unknown;
  /** As given to the pool's constructor: connections of our own are made from it. */
  readonly options?: object;
}

/** A connection taken from the pool, until it is given back. */
export interface Checkout {
  readonly client: PoolClientLike;
  /** Set when the connection must not be used again. */
  isUnusable: boolean;
}
