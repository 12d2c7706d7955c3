import pg from 'pg';
import type { DatabaseSettings } from '../options.js';
import { Connection, connectionConfig } from './connection.js';
import type { Hosts } from './hosts.js';
import type { PoolLike } from './pool-like.js';

export type { PoolClientLike, PoolLike } from './pool-like.js';

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
    onConnect: async (client: unknown) => {
      await (client as Connection).assertWritable();
      await (client as Connection).pinTimeouts(settings.statementTimeoutMs + 1_000);
    },
  } as unknown as pg.PoolConfig);
  pool.on('error', ignore);
  return pool as unknown as OwnPool;
}
