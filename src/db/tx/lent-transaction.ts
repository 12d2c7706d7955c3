import { HowdahError } from '../../core/errors.js';
import type { PoolClientLike } from '../connect/pool-like.js';

/** Rows of a statement. */
export interface JobTransactionResult<Row> {
  readonly rows: Row[];
  readonly rowCount: number | null;
}

/**
 * An open transaction on a connection of `pg`, to be used like its client. Who opened it commits it: run
 * neither COMMIT nor ROLLBACK on it. It may be given wherever Howdah takes a `tx`.
 */
export interface JobTransaction {
  query<Row extends object = Readonly<Record<string, unknown>>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<JobTransactionResult<Row>>;
  /** As the driver takes it: `{ text, values, name, rowMode }`. */
  query<Row extends object = Readonly<Record<string, unknown>>>(
    config: object,
    values?: readonly unknown[],
  ): Promise<JobTransactionResult<Row>>;
  /** `T` while it is open, `E` after a statement failed. */
  getTransactionStatus(): string;
}

type DriverClient = {
  query(text: unknown, values: unknown): Promise<JobTransactionResult<never>>;
  getTransactionStatus?(): unknown;
  readonly processID?: unknown;
};

/** Hands a connection out until {@link end}; whoever uses it later gets an error, not our connection. */
export class LentTransaction implements JobTransaction {
  #client: DriverClient | undefined;

  constructor(client: PoolClientLike) {
    this.#client = client as unknown as DriverClient;
  }

  async query<Row extends object>(
    text: string | object,
    values?: readonly unknown[],
  ): Promise<JobTransactionResult<Row>> {
    if (!this.#client) {
      throw new HowdahError('HOWDAH_TRANSACTION_INVALID', 'The transaction has ended.', {
        remedy: 'Await every statement before the handler returns.',
      });
    }
    return this.#client.query(text, values);
  }

  /** Older drivers cannot tell: then it is taken for open. */
  getTransactionStatus(): string {
    if (!this.#client) return 'I';
    return String(this.#client.getTransactionStatus?.() ?? 'T');
  }

  /** Number of the server process, as the driver knows it: lets statements be prepared once. */
  get processID(): unknown {
    return this.#client?.processID;
  }

  end(): void {
    this.#client = undefined;
  }
}
