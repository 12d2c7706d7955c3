import type { JobState } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';

/** Which jobs a test looks for; null: any. */
export interface ExpectedJobs {
  readonly queue: string;
  readonly states: readonly JobState[];
  readonly payload: Json | null;
  readonly headers: Json | null;
  readonly priority: number | null;
  readonly group: string | null;
}

/** What is there of a queue. */
export interface FoundJobs {
  /** Jobs that are as expected. */
  readonly matching: number;
  /** Jobs of the queue in these states. */
  readonly jobs: number;
  /** The newest of them, at most 10. */
  readonly examples: readonly {
    readonly id: string;
    readonly state: JobState;
    readonly payload: Json;
  }[];
}

/**
 * One statement with one text parameter, {@link ExpectedJobs} as JSON, so that it works in any
 * transaction handle.
 */
export const EXPECTED_JOBS_TEXT = `
with ask as (select $1::text::jsonb as a),
found as (
  select j.id, j.state, j.payload,
    (a -> 'payload' = 'null' or j.payload @> (a -> 'payload'))
      and (a -> 'headers' = 'null' or coalesce(j.headers, '{}') @> (a -> 'headers'))
      and (a -> 'priority' = 'null' or to_jsonb(j.priority) = a -> 'priority')
      and (a -> 'group' = 'null' or to_jsonb(j.group_key) = a -> 'group') as is_match
  from {{schema}}.jobs j, ask
  where j.queue = a ->> 'queue' and a -> 'states' @> to_jsonb(j.state)
)
select count(*)::integer as jobs, (count(*) filter (where is_match is true))::integer as matching,
  (select coalesce(jsonb_agg(jsonb_build_object('id', e.id::text, 'state', e.state,
    'payload', e.payload)), '[]')::text
    from (select * from found order by id desc limit 10) e) as examples
from found`;

/** Reads the one row of that statement. */
export function readFoundJobs(rows: readonly object[]): FoundJobs {
  const row = rows[0] as { matching: unknown; jobs: unknown; examples: string };
  return {
    matching: Number(row.matching),
    jobs: Number(row.jobs),
    examples: JSON.parse(row.examples) as FoundJobs['examples'],
  };
}
