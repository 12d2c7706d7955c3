import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { makePatient } from '../patience.js';
import type { TopicsView } from '../tables.js';
import { withPlainTimes } from '../times.js';

/** A job that a publication has become. */
export interface Published {
  readonly queue: string;
  /** Id of the job; of the first job where `created` is false. */
  readonly id: string;
  /** False where a job of the same dedupe key was in this queue already. */
  readonly created: boolean;
}

/** Publications and who gets them. */
export interface TopicCalls {
  /** @returns whether it is new */
  subscribe(topic: string, queue: string): Promise<boolean>;
  /** @returns whether it was there */
  unsubscribe(topic: string, queue: string): Promise<boolean>;
  /** @param job JSON; see `publish` */
  publish(executor: Executor, job: string): Promise<Published[]>;
  /** As `publish`; it gives up a lock after so many milliseconds. */
  publishPatiently(executor: Executor, job: string, lockMs: number): Promise<Published[]>;
  /** SQL of `publish`, with one text parameter, so that it runs in any transaction. */
  readonly publishText: string;
  /** By topic and queue; all topics, or the one named. */
  list(topic: string | undefined, limit: number): Promise<TopicsView[]>;
}

/** Prepares the statements of {@link TopicCalls}. */
export function topicCalls(database: Database): TopicCalls {
  const subscribe = database.sql('select {{schema}}.subscribe($1, $2) as changed');
  const unsubscribe = database.sql('select {{schema}}.unsubscribe($1, $2) as changed');
  const publishText = database.sql(
    'select queue, id::text as id, created from {{schema}}.publish($1::text::jsonb)',
  );
  const publish = database.statement('publish', publishText);
  const publishHeld = makePatient(publish, 1);
  const list = database.sql(
    withPlainTimes(`select topic, queue, subscribed_at from {{schema}}.topics
    where $1::text is null or topic = $1 order by topic, queue limit $2::integer`),
  );
  const change = async (text: string, topic: string, queue: string) => {
    const [row] = await database.query<{ changed: boolean }>({ text }, [topic, queue]);
    return (row as { changed: boolean }).changed;
  };
  return {
    subscribe: (topic, queue) => change(subscribe, topic, queue),
    unsubscribe: (topic, queue) => change(unsubscribe, topic, queue),
    publish: (executor, job) => executor.query<Published>(publish, [job]),
    publishPatiently: (executor, job, lockMs) =>
      executor.query<Published>(publishHeld, [job, lockMs]),
    publishText,
    list: (topic, limit) => database.query<TopicsView>({ text: list }, [topic ?? null, limit]),
  };
}
