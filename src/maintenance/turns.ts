import type { Executor, Statement } from '../db/executor.js';

/** Sends one statement at a time, so that what may wait takes one connection of the pool, not many. */
export class Turns implements Executor {
  readonly #executor: Executor;
  #last: Promise<unknown> = Promise.resolve();

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  query<R extends object>(statement: Statement, values?: readonly unknown[]): Promise<R[]> {
    const send = (): Promise<R[]> => this.#executor.query<R>(statement, values);
    const turn = this.#last.then(send);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
