import type { SqlPolicy } from '../../core/queue/queue-policy.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** A queue that is to be there, with these keys of its policy. */
export interface QueueAsk {
  readonly queue: string;
  readonly policy: SqlPolicy;
}

/** A queue that was not declared, because an open transaction holds it. */
export interface HeldQueue {
  readonly queue: string;
  /** It exists, and can be used as it is. */
  readonly is_there: boolean;
}

/** Queues and their policies. */
interface QueueCalls {
  /**
   * Creates the queue, or applies the given keys to the one that is there.
   * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID, HOWDAH_POLICY_INVALID, HOWDAH_QUEUE_UNKNOWN (its
   *   dead-letter queue)
   */
  create(executor: Executor, queue: string, policy: SqlPolicy): Promise<void>;
  /** As `create`, for many. @returns those that an open transaction holds: they are not as asked for yet */
  createMany(executor: Executor, asks: readonly QueueAsk[]): Promise<HeldQueue[]>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_POLICY_INVALID */
  alter(executor: Executor, queue: string, policy: SqlPolicy): Promise<void>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_QUEUE_NOT_EMPTY */
  delete(executor: Executor, queue: string, isForced: boolean): Promise<void>;
  /**
   * As all calls below that return names: `queue` may have a `*`, which stands for any text.
   * @param until ISO 8601 text, or null
   * @param forMs from now, on the clock of the database; or null
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_HOLD_INVALID
   */
  pause(
    executor: Executor,
    queue: string,
    reason: string | null,
    until?: string | null,
    forMs?: number | null,
  ): Promise<string[]>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_HOLD_INVALID */
  limit(executor: Executor, queue: string, ms: number, reason: string | null): Promise<void>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_CIRCUIT_INVALID */
  setCircuit(
    executor: Executor,
    queue: string,
    state: 'open' | 'closed',
    reason: string | null,
  ): Promise<void>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  resume(executor: Executor, queue: string): Promise<string[]>;
  /** No new jobs. @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  close(executor: Executor, queue: string, reason: string | null): Promise<string[]>;
  /** @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  open(executor: Executor, queue: string): Promise<string[]>;
  /** SQL of `create` with one text parameter, so that it runs in any driver's transaction. */
  readonly createText: string;
}

/** The calls of {@link QueueCalls}; they are rare, so their statements are not prepared. */
export function queueCalls(database: Database): QueueCalls {
  const call = (text: string) => {
    const statement = { text: database.sql(text) };
    return async (executor: Executor, values: readonly unknown[]): Promise<void> => {
      await executor.query(statement, values);
    };
  };
  const callMany = (text: string) => {
    // as JSON: arrays are not among what DECODERS read
    const statement = { text: database.sql(`select to_json(${text})`), rowMode: 'array' as const };
    return async (executor: Executor, values: readonly unknown[]): Promise<string[]> => {
      const [row] = await executor.query<[string[]]>(statement, values);
      return row?.[0] ?? [];
    };
  };
  const create = call('select {{schema}}.create_queue($1, $2::text::jsonb)');
  const createMany = {
    text: database.sql('select queue, is_there from {{schema}}.create_queues($1::text::jsonb)'),
  };
  const alter = call('select {{schema}}.alter_queue($1, $2::text::jsonb)');
  const remove = call('select {{schema}}.delete_queue($1, $2)');
  const pause = callMany(`{{schema}}.pause_queue($1, $2, coalesce($3::text::timestamptz,
    {{schema}}.clock() + $4::float8 * interval '1 millisecond'))`);
  const limit = call('select {{schema}}.limit_queue($1, $2::bigint, $3)');
  const setCircuit = call('select {{schema}}.set_circuit($1, $2, $3)');
  const resume = callMany('{{schema}}.resume_queue($1)');
  const close = callMany('{{schema}}.close_queue($1, $2)');
  const open = callMany('{{schema}}.open_queue($1)');
  return {
    create: (executor, queue, policy) => create(executor, [queue, JSON.stringify(policy)]),
    createMany: (executor, asks) => executor.query<HeldQueue>(createMany, [JSON.stringify(asks)]),
    alter: (executor, queue, policy) => alter(executor, [queue, JSON.stringify(policy)]),
    delete: (executor, queue, isForced) => remove(executor, [queue, isForced]),
    pause: (executor, queue, reason, until = null, forMs = null) =>
      pause(executor, [queue, reason, until, forMs]),
    limit: (executor, queue, ms, reason) => limit(executor, [queue, ms, reason]),
    setCircuit: (executor, queue, state, reason) => setCircuit(executor, [queue, state, reason]),
    resume: (executor, queue) => resume(executor, [queue]),
    close: (executor, queue, reason) => close(executor, [queue, reason]),
    open: (executor, queue) => open(executor, [queue]),
    createText: database.sql(
      `select {{schema}}.create_queue(a.ask ->> 'queue', a.ask -> 'policy') as id
      from (select $1::text::jsonb as ask) a`,
    ),
  };
}
