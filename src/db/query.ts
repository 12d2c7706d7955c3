import { DECODERS, type Decoders } from './connect/decoders.js';
import { routineOf, sqlstateOf } from './errors/pg-error.js';
import type { Statement } from './executor.js';

/** What the driver takes. A fresh object per call: the driver writes into it. */
export interface QueryConfig {
  text: string;
  values?: unknown[];
  name?: string;
  rowMode?: 'array';
  query_timeout?: number;
  types?: Decoders;
}

/** What the driver gives back, as far as it is read here. */
export interface QueryResult {
  readonly rows: unknown[];
  readonly command?: string;
}

/**
 * Whether statements are prepared under their names. Shared by all connections of a database.
 * A pooler that does not carry prepared statements over switches names off for good.
 */
export class StatementNames {
  #isOff = false;
  #generation = 0;

  config(statement: Statement, values: readonly unknown[], timeoutMs: number): QueryConfig {
    const config: QueryConfig = {
      text: statement.text,
      values: values as unknown[],
      query_timeout: timeoutMs,
      types: DECODERS,
    };
    if (statement.name !== undefined && !this.#isOff) {
      config.name =
        this.#generation === 0 ? statement.name : `${statement.name}_${this.#generation}`;
    }
    if (statement.rowMode) config.rowMode = statement.rowMode;
    return config;
  }

  /** Learns from a failure of a named statement; true: the same statement may be tried again. */
  learn(config: QueryConfig, error: unknown): boolean {
    if (config.name === undefined) return false;
    const sqlstate = sqlstateOf(error);
    if (sqlstate === '26000' || sqlstate === '42P05') {
      this.#isOff = true;
      return true;
    }
    // After a migration a prepared statement may return other columns: prepare it anew.
    // The message may be translated; 0A000 has other causes, the function that raises it for this has none.
    if (sqlstate === '0A000' && routineOf(error) === 'RevalidateCachedQuery') {
      this.#generation += 1;
      return true;
    }
    return false;
  }
}
