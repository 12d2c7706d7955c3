import type { TxHandle } from 'howdah';

/** An open transaction of some library. */
export interface OpenTransaction {
  /** What is handed to Howdah. */
  readonly tx: TxHandle;
  /** Runs a statement of the application's own in it. */
  run(sql: string): Promise<unknown>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

/** One library that can hold a transaction. */
export interface Kit {
  /** What cannot serve as a transaction though it runs statements: a pool, the root object. */
  readonly root: unknown;
  /** The library knows by itself that its transaction is over or aborted. */
  begin(): Promise<OpenTransaction>;
  close(): Promise<void>;
}

export type OpenKit = (url: string) => Promise<Kit>;

/** Turns a library's `transaction(callback)` into begin, commit and rollback. */
export async function callbackTransaction<T>(
  transaction: (run: (tx: T) => Promise<void>) => Promise<unknown>,
): Promise<{ tx: T; commit(): Promise<void>; rollback(): Promise<void> }> {
  const undo = new Error('rolled back on purpose');
  let end = { resolve: () => {}, reject: (_: Error) => {} };
  const ended = new Promise<void>((resolve, reject) => {
    end = { resolve, reject };
  });
  let done: Promise<unknown> = Promise.resolve();
  const tx = await new Promise<T>((resolve, reject) => {
    done = transaction((inner) => {
      resolve(inner);
      return ended;
    });
    done.catch(reject);
  });
  return {
    tx,
    async commit() {
      end.resolve();
      await done;
    },
    async rollback() {
      end.reject(undo);
      await done.catch((error) => {
        if (error !== undo) throw error;
      });
    },
  };
}
