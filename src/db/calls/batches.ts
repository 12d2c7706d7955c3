import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import type { BatchesView } from '../tables.js';
import { withPlainTimes } from '../times.js';

/** `closed`: waits for its jobs. `failed`: all have ended, not all of them well. */
export type BatchState = 'open' | 'closed' | 'completed' | 'failed';

/** Which batches to list, newest first. */
interface BatchListFilter {
  readonly states: readonly BatchState[] | undefined;
  /** Only ids below this one: the last of the page before. */
  readonly after: string | undefined;
  readonly limit: number;
}

/** Sets of jobs with a job that follows. */
interface BatchCalls {
  /** @param batch JSON; see `open_batch` @returns its id */
  open(executor: Executor, batch: string): Promise<string>;
  close(executor: Executor, id: string, isEmptyAllowed: boolean): Promise<BatchState>;
  /** SQL of `open`, with one text parameter, so that it runs in any transaction. */
  readonly openText: string;
  /** SQL of `close`, likewise. */
  closeText(isEmptyAllowed: boolean): string;
  get(id: string): Promise<BatchesView | undefined>;
  list(filter: BatchListFilter): Promise<BatchesView[]>;
}

/** Prepares the statements of {@link BatchCalls}. */
export function batchCalls(database: Database): BatchCalls {
  const openText = database.sql('select {{schema}}.open_batch($1::text::jsonb)::text as id');
  const closeText = (isEmptyAllowed: boolean): string =>
    database.sql(
      `select {{schema}}.close_batch($1::text::bigint, ${isEmptyAllowed === true}) as state`,
    );
  const get = database.sql(
    withPlainTimes('select * from {{schema}}.batches where id = $1::bigint'),
  );
  const list = database.sql(
    withPlainTimes(`select * from {{schema}}.batches
    where ($1::text[] is null or state = any ($1)) and ($2::bigint is null or id < $2)
    order by id desc limit $3::integer`),
  );
  return {
    openText,
    closeText,
    async open(executor, batch) {
      const [row] = await executor.query<{ id: string }>({ text: openText }, [batch]);
      return (row as { id: string }).id;
    },
    async close(executor, id, isEmptyAllowed) {
      const [row] = await executor.query<{ state: BatchState }>(
        { text: closeText(isEmptyAllowed) },
        [id],
      );
      return (row as { state: BatchState }).state;
    },
    get: async (id) => (await database.query<BatchesView>({ text: get }, [id]))[0],
    list: ({ states, after, limit }) =>
      database.query<BatchesView>({ text: list }, [states ?? null, after ?? null, limit]),
  };
}
