-- Jobs: only those that are not finished. How a state is read from a row:
--   dead       dead_at is set (the row lies in its dead-letter queue)
--   running    lease_id is set
--   blocked    group_seq is set: waits for its turn in its group (see 0009_groups.sql)
--   ready      seq is set, no lease
--   scheduled  seq is null: due at run_at
-- Finished jobs are in history.

-- Up Migration

-- Jobs: only those that are not finished. How a state is read from a row:
--   dead       dead_at is set (the row lies in its dead-letter queue)
--   running    lease_id is set
--   blocked    group_seq is set: waits for its turn in its group (see 0009_groups.sql)
--   ready      seq is set, no lease
--   scheduled  seq is null: due at run_at
-- Finished jobs are in history.



-- One sequence numbers jobs and their readiness: a job that is ready at once has seq = id.
create sequence {{schema}}.job_seq as bigint;

create table {{schema}}._jobs (
  -- The order is for speed: what is never null comes first, then what a claim and its end read. A column
  -- is found by walking over those before it, from the first null on.
  id              bigint not null,
  enqueued_at     timestamptz not null,
  queue_id        integer not null,
  attempt         integer not null default 0,    -- claims so far; never goes back: part of the fence
  uncounted       integer not null default 0,    -- attempts given back by snooze, release, redrive
  -- 2 * (100 - priority), plus 1 in the ordinary lane; without it in the lane at the head, where
  -- interrupted jobs return. 32767: parked, never claimed. Below 0: see 0023_claim.sql.
  lane            smallint not null,
  crashes         smallint not null default 0,   -- attempts that ended with their worker's death
  cancel_requested boolean not null default false,
  seq             bigint,                        -- order of readiness; null while scheduled
  lease_id        bigint,                        -- who runs it; null while waiting
  claimed_at      timestamptz,
  dead_at         timestamptz,
  batch_id        bigint,                        -- kept when dead, so that a redriven job joins again
  group_key       text collate "C",              -- kept when dead, so that a redriven job joins again
  payload         jsonb not null,
  expires_at      timestamptz,                   -- end of the waiting TTL; null once it has begun
  max_attempts    smallint,                      -- null: as the queue says
  headers         jsonb,
  errors          jsonb,                         -- one entry a failed attempt, the last 100
  bytes           integer,                       -- of the payload, where a bounded queue counts them
  run_at          timestamptz,                   -- due time of a scheduled job, kept afterwards
  origin_queue_id integer,                       -- where a dead job comes from
  weight          smallint,                      -- against the queue's limits; null is 1
  permit          smallint,                      -- what it holds of concurrency_max while it runs
  dead_reason     text,
  after_id        bigint,                        -- not before this job is over (dedupe mode latest)
  group_seq       bigint,                        -- place among the waiting of its group; null: admitted
  -- its group_seq, once it was claimed behind a head (see 0022_turns.sql)
  follow_seq      bigint,
  cancel_reason   text,                          -- of who asked to cancel it while it runs
  constraint jobs_pkey primary key (id)
) with (
  -- A claim must find room in the page: then it is a heap-only update and touches no index.
  fillfactor = 45,
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0,
  autovacuum_analyze_scale_factor = 0.5
);

-- Attempts as people count them. Burying gives a job's back, so that it has fresh ones where it lies: what it
-- had is in its last error.
create function {{schema}}._attempts_of(p_job {{schema}}._jobs) returns integer
language sql immutable parallel safe as $$
  select case when p_job.dead_at is not null and p_job.lease_id is null
    then coalesce((p_job.errors -> -1 ->> 'attempt')::integer, 0) else p_job.attempt - p_job.uncounted end
$$;

-- What a change of what waits says of bytes (_counter_deltas): not null in a bounded queue, also where the job came
-- before the bound and has none.
create function {{schema}}._delta_bytes(p_queue_id integer, p_bytes bigint) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce(p_bytes, case when exists (select from _queues where id = p_queue_id and is_guarded) then 0 end)
$$;

-- Whether the job that another one must not begin before (jobs.after_id) is not over.
create function {{schema}}._is_pending(p_after_id bigint) returns boolean
language sql stable security definer {{settings}} as $$
  select p_after_id is not null and exists (select from _jobs where id = p_after_id and dead_at is null)
$$;

-- No index and no index predicate may name lease_id, attempt, claimed_at, cancel_requested, permit: see above.
create index jobs_claim_idx on {{schema}}._jobs (queue_id, lane, seq) where seq is not null;

create index jobs_due_idx on {{schema}}._jobs (run_at)
  where seq is null and run_at is not null and group_seq is null;

create index jobs_group_idx on {{schema}}._jobs (queue_id, group_key, group_seq)
  where group_seq is not null;

create index jobs_expires_idx on {{schema}}._jobs (expires_at) where expires_at is not null;

create index jobs_dead_idx on {{schema}}._jobs (dead_at) where dead_at is not null;

-- Predicates differ although they mean the same rows: which index a query takes is then settled by what it asks,
-- not by statistics, which are those of another day.
create index jobs_origin_idx on {{schema}}._jobs (origin_queue_id, dead_at) where origin_queue_id is not null;

create index jobs_buried_idx on {{schema}}._jobs (queue_id, dead_at) where dead_reason is not null;

create index jobs_batch_idx on {{schema}}._jobs (batch_id, id) where batch_id is not null;

-- The lane at the head, or the ordinary one, of a job that may be a suspect. Parked ones stay parked.
create function {{schema}}._plain_lane(p_lane smallint) returns smallint
language sql immutable parallel safe as $$
  select case when p_lane = 32767 then p_lane else ((p_lane + 2000) % 1000)::smallint end
$$;

-- 100 to -100; null for a parked job.
create function {{schema}}.lane_priority(p_lane smallint) returns integer
language sql immutable parallel safe as $$
  select case when p_lane <> 32767 then 100 - (p_lane + 2000) % 1000 / 2 end
$$;

-- The job with one header more, which the database writes: beside the others where those are encoded. It is
-- inlined: thousands of jobs of schedules are made at once.
create function {{schema}}._with_header(p_job jsonb, p_name text, p_value jsonb) returns jsonb
language sql stable as $$
  select p_job || jsonb_build_object('headers',
    coalesce(nullif(p_job -> 'headers', 'null'), '{}') || jsonb_build_object(p_name, p_value))
$$;

-- Settle: end an attempt. Every settle names (job id, lease, attempt); a row that no longer matches is
-- left alone and reported as stale, so a worker that lost its lease changes nothing.



-- A job never hangs because of its own output: what is too long or too deep to be read by a client is replaced, as a
-- worker does it. p_may_be_wide as in _is_too_long().
create function {{schema}}._kept_result(p_result jsonb, p_may_be_wide boolean default true) returns jsonb
language sql stable as $$
  select case when {{schema}}._is_too_long(p_result, 8388608, p_may_be_wide) or {{schema}}._is_too_deep(p_result)
    then '{"howdah": "result not stored", "problem": "it is longer than 8388608 bytes, deeper than 500 levels, or has a number beyond 1.8e308"}'::jsonb
    else p_result end
$$;

-- Whether a job of this lane was claimed alone because of its crashes.
create function {{schema}}._is_alone(p_lane smallint) returns boolean
language sql immutable parallel safe as 'select p_lane < -1000';

-- Where a job goes that is not the first to crash, or p_is_last: its next crash or attempt is the last.
create function {{schema}}._suspect_lane(p_lane smallint, p_crashes integer, p_is_last boolean)
returns smallint
language sql immutable parallel safe as $$
  select (l - l % 2 - case when p_is_last or p_crashes > 1 then 2000 else 1000 end)::smallint
  from (select {{schema}}._plain_lane(p_lane) as l) x
$$;

-- Down Migration

drop function {{schema}}._suspect_lane(smallint, integer, boolean);
drop function {{schema}}._is_alone(smallint);
drop function {{schema}}._kept_result(jsonb, boolean);
drop function {{schema}}._with_header(jsonb, text, jsonb);
drop function {{schema}}.lane_priority(smallint);
drop function {{schema}}._plain_lane(smallint);
drop function {{schema}}._is_pending(bigint);
drop function {{schema}}._delta_bytes(integer, bigint);
drop function {{schema}}._attempts_of({{schema}}._jobs);
drop table {{schema}}._jobs;
drop sequence {{schema}}.job_seq;
