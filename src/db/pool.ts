import pg from 'pg';
import { Connection, connectionConfig } from './connection.js';
import type { Hosts } from './hosts.js';
import type { DatabaseSettings } from './options.js';
import type { QueryConfig, QueryResult } from './query.js';

/** A connection taken from a pool. */
export interface PoolClientLike {
  query(config: QueryConfig): Promise<QueryResult>;
  release(isUnusable?: boolean): void;
  on?(event: 'error', listener: (error: Error) => void): unknown;
  removeListener?(event: 'error', listener: (error: Error) => void): unknown;
}

/** What is used of a pg.Pool: any version of `pg`, or anything shaped like it. */
export interface PoolLike {
  connect(): Promise<PoolClientLike>;
  /** As given to the pool's constructor: connections of our own are made from it. */
  readonly options?: object;
}

/** A connection taken from the pool, until it is given back. */
export interface Checkout {
  readonly client: PoolClientLike;
  /** Set when the connection must not be used again. */
  isUnusable: boolean;
}

/** A pool of our own. */
export interface OwnPool extends PoolLike {
  end(): Promise<void>;
}

/** An idle connection that breaks is dropped by the pool; nobody else needs to know. */
const ignore = (): void => undefined;

/** Connects on demand; idle connections do not keep the process alive. */
export function createPool(settings: DatabaseSettings, hosts: Hosts): OwnPool {
  class PoolConnection extends Connection {
    constructor(config: pg.ClientConfig) {
      super(config, hosts);
      // Also while checked out: without a listener the 'error' event would end the process.
      this.on('error', ignore);
    }

    override connect(): Promise<this>;
    override connect(callback: (error: Error) => void): void;
    override connect(callback?: (error: Error) => void): Promise<this> | undefined {
      if (!callback) return super.connect() as unknown as Promise<this>;
      super.connect((error: Error) => {
        if (error) this.blameHost();
        callback(error);
      });
      return undefined;
    }
  }
  const pool = new pg.Pool({
    ...connectionConfig(settings.applicationName, settings.connectTimeoutMs),
    max: settings.connectionsMax,
    allowExitOnIdle: true,
    Client: PoolConnection,
    onConnect: (client: unknown) => (client as Connection).assertWritable(),
  } as unknown as pg.PoolConfig);
  pool.on('error', ignore);
  return pool as unknown as OwnPool;
}
