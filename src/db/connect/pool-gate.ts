import { HowdahError } from '../../core/errors.js';
import type { PoolClientLike, PoolLike } from './pool-like.js';

/** Who waits for a connection. */
interface Waiter {
  readonly take: (client: PoolClientLike) => void;
  readonly fail: (error: unknown) => void;
}

/** An idle connection that breaks is dropped by its pool; a statement under way reports it. */
const ignore = (): void => undefined;

/** How many of us use a pool of the application, which hears 'error' for as long as anybody does. */
const USERS = new WeakMap<PoolLike, number>();

/**
 * The way to a pool that we did not make. It may make callers wait for ever; here nobody waits longer than
 * allowed. A request to a pool cannot be taken back: it is left to the next who waits, or what comes of it is given
 * back at once, so that there are never more of them than callers have waited at a time.
 */
export class PoolGate {
  readonly #pool: PoolLike;
  readonly #waitMs: number;
  readonly #waiters = new Set<Waiter>();
  /** Requests of the pool that are not answered yet. */
  #asked = 0;
  #isClosed = false;

  constructor(pool: PoolLike, waitMs: number) {
    this.#pool = pool;
    this.#waitMs = waitMs;
    const users = USERS.get(pool) ?? 0;
    USERS.set(pool, users + 1);
    // without a listener the 'error' event of an idle connection would end the process
    if (users === 0) pool.on?.('error', ignore);
  }

  /**
   * A connection with {@link ignoreError} as a listener, to be ended by {@link giveBack}.
   * @throws HowdahError HOWDAH_TIMEOUT when none is to be had in time; whatever the pool throws
   */
  connect(): Promise<PoolClientLike> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        take: (client) => {
          leave();
          resolve(client);
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const timer = setTimeout(() => waiter.fail(tooLate(this.#pool, this.#waitMs)), this.#waitMs);
      this.#waiters.add(waiter);
      if (this.#asked < this.#waiters.size) this.#ask();
    });
  }

  /** The pool stays open; we hear its errors no more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const users = (USERS.get(this.#pool) ?? 1) - 1;
    USERS.set(this.#pool, users);
    if (users === 0) this.#pool.removeListener?.('error', ignore);
  }

  /**
   * With a callback where the pool takes one, as that of `pg` does: a connection may break in the very packet that
   * made it, before a promise has said that it is there, and then nobody would hear its 'error'.
   */
  #ask(): void {
    this.#asked += 1;
    let isAnswered = false;
    const answer = (error: unknown, client?: PoolClientLike): void => {
      if (isAnswered) return;
      isAnswered = true;
      this.#asked -= 1;
      client?.on?.('error', ignoreError);
      const waiter: Waiter | undefined = this.#waiters.values().next().value;
      if (!client) waiter?.fail(error);
      else if (waiter) waiter.take(client);
      else giveBack(client);
    };
    const connect: (callback: typeof answer) => unknown = this.#pool.connect.bind(this.#pool);
    // a pool that throws, instead of rejecting, is one that rejects
    new Promise((resolve) => resolve(connect(answer))).then(
      (client) => client && answer(undefined, client as PoolClientLike),
      answer,
    );
  }
}

/** An 'error' event without a listener would end the process; the statement under way reports the failure. */
const ignoreError = (): void => undefined;

/** Back to its pool, which listens to it from now on. */
export function giveBack(client: PoolClientLike, isUnusable?: boolean): void {
  client.removeListener?.('error', ignoreError);
  client.release(isUnusable);
}

/** Whether this is the error of a pool of `pg` with a time-out of its own in which no connection became free. */
export function isPoolTimeout(error: unknown): boolean {
  return (error as Error | undefined)?.message === 'timeout exceeded when trying to connect';
}

/** What a pool of `pg` tells of itself. */
interface PoolFacts {
  readonly options?: { readonly max?: unknown; readonly connectionTimeoutMillis?: unknown };
  readonly totalCount?: unknown;
  readonly idleCount?: unknown;
}

/** Why nobody got a connection: all are in use, or the server gives none. */
export function tooLate(pool: PoolLike, waitMs: number, cause?: unknown): HowdahError {
  const { options, totalCount, idleCount } = pool as PoolFacts;
  const own = options?.connectionTimeoutMillis;
  const ms = cause !== undefined && typeof own === 'number' ? own : waitMs;
  const max = typeof options?.max === 'number' ? options.max : undefined;
  const isFull = max === undefined || (totalCount === max && idleCount === 0);
  const size = max === undefined ? '' : ` (max ${max})`;
  const what = isFull ? `became free in the pool${size}` : `was made by the pool${size}`;
  return new HowdahError('HOWDAH_TIMEOUT', `No connection ${what} within ${ms} ms.`, {
    cause,
    details: { option: 'connectTimeout', connectTimeoutMs: ms, ...(max !== undefined && { max }) },
    remedy: isFull
      ? 'Give the pool more connections, or pass the connection that you hold as `tx`.'
      : 'See whether the server is there, and the option connectTimeout.',
  });
}
