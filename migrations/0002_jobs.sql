-- Jobs: only those that are not finished. How a state is read from a row:
--   dead       dead_at is set (the row lies in its dead-letter queue)
--   running    lease_id is set
--   blocked    group_seq is set: waits for its turn in its group (see 0012_groups.sql)
--   ready      seq is set, no lease
--   scheduled  seq is null: due at run_at
-- Finished jobs are in history.

-- Up Migration

-- One sequence numbers jobs and their readiness: a job that is ready at once has seq = id.
create sequence {{schema}}.job_seq as bigint;

create table {{schema}}.jobs (
  -- The order is for speed: what is never null comes first, then what a claim and its end read. A column
  -- is found by walking over those before it, from the first null on.
  id              bigint not null,
  enqueued_at     timestamptz not null,
  queue_id        integer not null,
  attempt         integer not null default 0,    -- claims so far; never goes back: part of the fence
  uncounted       integer not null default 0,    -- attempts given back by snooze, release, redrive
  -- 2 * (100 - priority), plus 1 in the ordinary lane; without it in the lane at the head, where
  -- interrupted jobs return. 32767: parked, never claimed. Below 0: see 0017_suspects.sql.
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
  -- its group_seq, once it was claimed behind a head (see 0016_group_turns.sql)
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
create function {{schema}}.attempts_of(p_job {{schema}}.jobs) returns integer
language sql immutable parallel safe as $$
  select case when p_job.dead_at is not null and p_job.lease_id is null
    then coalesce((p_job.errors -> -1 ->> 'attempt')::integer, 0) else p_job.attempt - p_job.uncounted end
$$;

-- What a change of what waits says of bytes (counter_deltas): not null in a bounded queue, also where the job came
-- before the bound and has none.
create function {{schema}}.delta_bytes(p_queue_id integer, p_bytes bigint) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce(p_bytes, case when exists (select from queues where id = p_queue_id and is_guarded) then 0 end)
$$;

-- Whether the job that another one must not begin before (jobs.after_id) is not over.
create function {{schema}}.is_pending(p_after_id bigint) returns boolean
language sql stable security definer {{settings}} as $$
  select p_after_id is not null and exists (select from jobs where id = p_after_id and dead_at is null)
$$;

-- No index and no index predicate may name lease_id, attempt, claimed_at, cancel_requested, permit: see above.
create index jobs_claim_idx on {{schema}}.jobs (queue_id, lane, seq) where seq is not null;
create index jobs_due_idx on {{schema}}.jobs (run_at)
  where seq is null and run_at is not null and group_seq is null;
create index jobs_group_idx on {{schema}}.jobs (queue_id, group_key, group_seq)
  where group_seq is not null;
create index jobs_expires_idx on {{schema}}.jobs (expires_at) where expires_at is not null;
create index jobs_dead_idx on {{schema}}.jobs (dead_at) where dead_at is not null;
-- Predicates differ although they mean the same rows: which index a query takes is then settled by what it asks,
-- not by statistics, which are those of another day.
create index jobs_origin_idx on {{schema}}.jobs (origin_queue_id, dead_at) where origin_queue_id is not null;
create index jobs_buried_idx on {{schema}}.jobs (queue_id, dead_at) where dead_reason is not null;
create index jobs_batch_idx on {{schema}}.jobs (batch_id, id) where batch_id is not null;

-- The lane at the head, or the ordinary one, of a job that may be a suspect. Parked ones stay parked.
create function {{schema}}.plain_lane(p_lane smallint) returns smallint
language sql immutable parallel safe as $$
  select case when p_lane = 32767 then p_lane else ((p_lane + 2000) % 1000)::smallint end
$$;

-- 100 to -100; null for a parked job.
create function {{schema}}.lane_priority(p_lane smallint) returns integer
language sql immutable parallel safe as $$
  select case when p_lane <> 32767 then 100 - (p_lane + 2000) % 1000 / 2 end
$$;

-- No job of this lane with a seq up to it is ready, nor will be: what begins without a cursor begins here, and
-- does not walk over the entries of finished jobs, which a held snapshot keeps from being vacuumed. Whatever
-- makes a job ready draws a new number. Raised by sweep(), a thousand at least at a time.
-- Of many jobs that were committed behind the cursors, sweep() makes claims begin before them: at rewind_seq at the
-- latest, as long as it stands there. swept_seq: where it looks next, where more lies behind the cursors than one call walks over.
create table {{schema}}.lane_floors (
  queue_id integer not null,
  lane     smallint not null,
  seq      bigint not null,
  rewind_seq bigint,
  swept_seq  bigint,
  constraint lane_floors_pkey primary key (queue_id, lane)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

create function {{schema}}.lane_floor(p_queue_id integer, p_lane smallint) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce((select seq from lane_floors where queue_id = p_queue_id and lane = p_lane), 0)
$$;

-- Lanes are written down nowhere: whoever is the first to use a priority would hold a row that all need. They are
-- found by leaps over the claim index. Where a leap begins in a lane: at the caller's cursor, or at its floor, so
-- that it does not walk over what is finished. Lanes of which neither is known have few such entries.
-- p_lanes and p_after: cursors, as for claim_many(); p_last: the last number of job_seq, beyond which they mean nothing.
-- No SET clause here and below: they are called by functions that have it.
create function {{schema}}.lane_starts(
  p_queue_id integer, p_lanes smallint[], p_after bigint[], p_last bigint,
  out lanes smallint[], out starts bigint[]
)
language plpgsql stable as $$
begin
  select array_agg(k.lane order by k.lane), array_agg(k.start order by k.lane) into lanes, starts from (
    select x.lane, greatest(max(x.floor), case when max(x.cursor) > 0
      then least(max(x.cursor), max(x.rewind)) else 0 end) as start
    from (
      select f.lane, f.seq as floor, null::bigint as cursor, f.rewind_seq as rewind
      from {{schema}}.lane_floors f where f.queue_id = p_queue_id and f.seq <= p_last
      union all
      select c.lane, null, c.seq, null from unnest(p_lanes, p_after) c (lane, seq)
      where c.lane < 32767 and c.seq <= p_last
    ) x
    group by x.lane
  ) k;
  lanes := lanes || 32767::smallint;  -- parked jobs, which are not for claims
end $$;

-- The first lane above p_from in which a job is ready, and where to begin in it; null: there is none.
create function {{schema}}.next_lane(
  p_queue_id integer, p_lanes smallint[], p_starts bigint[], p_from smallint,
  out lane smallint, out start bigint
)
language plpgsql stable as $$
begin
  select r.lane, coalesce(case when r.lane = k.lane then k.start end, 0) into lane, start
  from unnest(p_lanes, p_starts) with ordinality k (lane, start, n)
  cross join lateral (
    -- between the known lane before and this one, then in this one: the second only if the first finds nothing
    (select j.lane from {{schema}}.jobs j
    where j.queue_id = p_queue_id and j.seq is not null and j.lease_id is null
      and j.lane > greatest(p_from, p_lanes[k.n - 1]) and j.lane < k.lane
    order by j.lane, j.seq limit 1)
    union all
    (select j.lane from {{schema}}.jobs j
    where j.queue_id = p_queue_id and j.seq is not null and j.lease_id is null
      and j.lane = k.lane and j.seq > k.start
    order by j.seq limit 1)
  ) r
  where k.lane > p_from limit 1;
end $$;

-- All lanes in which jobs are ready, in the order they are served: for whatever is not the hot path.
create function {{schema}}.ready_lanes(
  p_queue_id integer, p_lanes smallint[] default '{}', p_after bigint[] default '{}'
) returns table (lane smallint, start bigint)
language plpgsql stable security definer {{settings}} as $$
declare
  v_known record;
  v_from smallint := -32768;
begin
  select * into v_known from lane_starts(p_queue_id, p_lanes, p_after, (select last_value from job_seq));
  loop
    select * into lane, start from next_lane(p_queue_id, v_known.lanes, v_known.starts, v_from);
    exit when lane is null;
    return next;
    v_from := lane;
  end loop;
end $$;

-- How far the numbers of job_seq are decided: a job that has one is committed, or will never be.
create table {{schema}}.seq_horizon (
  is_only boolean constraint seq_horizon_pkey primary key default true,
  decided bigint not null default 0,
  pending bigint,                             -- decided as soon as these transactions have ended
  holders text[] not null default '{}',
  constraint seq_horizon_is_only_check check (is_only)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);
insert into {{schema}}.seq_horizon default values;

-- Finished jobs, append-only, a partition a day; retention drops partitions, never rows.
create table {{schema}}.history (
  id           bigint not null,
  finished_at  timestamptz not null,
  enqueued_at  timestamptz not null,
  claimed_at   timestamptz,
  queue_id     integer not null,
  attempt      integer not null,
  lane         smallint not null,
  state        text not null,
  reason       text,
  worker       text,
  payload      jsonb not null,
  headers      jsonb,
  errors       jsonb,
  result       jsonb,
  group_key    text collate "C",
  batch_id     bigint,
  constraint history_state_check check (state in ('completed', 'cancelled', 'expired', 'discarded'))
) partition by range (finished_at);

create index history_id_idx on {{schema}}.history (id);
create index history_batch_idx on {{schema}}.history (batch_id, id) where batch_id is not null;
-- Only reached when maintenance has not run for days; prune() moves its rows out.
create table {{schema}}.history_default partition of {{schema}}.history default;
-- Where a publication has all tables, PostgreSQL refuses to delete from one without a key or this.
alter table {{schema}}.history_default replica identity full;

-- Days of the history, and of those that are over which ids they have: so a job is found by its id without a look at,
-- and a lock on, every day that is kept. high_id null: not noted yet, so it is looked at always.
create table {{schema}}.history_days (
  day      date constraint history_days_pkey primary key,
  low_id   bigint,
  high_id  bigint,
  noted_at timestamptz
);

-- Finished jobs by their ids; of one that is there twice, as after a restore, the newest. The days come to be looked
-- at one after another, today first, until all are found. Each statement in here is for one day: of the history as
-- a whole PostgreSQL locks every partition, and all its indexes, before it knows which it will read.
create function {{schema}}.history_of(p_ids bigint[]) returns setof {{schema}}.history
language plpgsql stable security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_today date := v_now at time zone 'UTC';
  v_low bigint;
  v_high bigint;
  v_left bigint[] := p_ids;
  v_found bigint[];
  v_name text;
  v_row history;
begin
  select min(u), max(u) into v_low, v_high from unnest(p_ids) u;
  if v_low is null then
    return;
  end if;
  for v_name in
    select d.name from (
      select 'history_' || to_char(day, 'YYYYMMDD') as name, day from history_days
      -- a clock that went ahead and back again has noted days that were not over
      where high_id is null or noted_at > v_now or low_id <= v_high and high_id >= v_low
      union all select 'history_default', '-infinity'
    ) d order by d.day <= v_today desc, d.day desc
  loop
    v_found := '{}';
    begin
      for v_row in execute format(
        'select distinct on (id) * from %I where id = any ($1) order by id, finished_at desc', v_name) using v_left
      loop
        v_found := v_found || v_row.id;
        return next v_row;
      end loop;
    exception when undefined_table then
      null;  -- dropped at this very moment
    end;
    if v_found <> '{}' then
      v_left := array(select unnest(v_left) except select unnest(v_found));
      exit when v_left = '{}';
    end if;
  end loop;
end $$;

-- One row a group that has members, see 0012_groups.sql. Written by enqueue and by what ends a job.
create table {{schema}}.groups (
  queue_id integer not null,
  key      text collate "C" not null,
  admitted integer not null,       -- members that are ready, running or scheduled: they hold a turn
  waiting  integer not null,       -- members that are blocked
  mark     bigint not null,        -- every waiting member has a group_seq above it
  head_id  bigint,                 -- the member admitted last
  head_at  timestamptz,
  constraint groups_pkey primary key (queue_id, key)
) with (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 0
);

-- Statistics are counted where work happens: one row a statement and queue, folded by roll_up().
create table {{schema}}.counter_deltas (
  id bigint generated always as identity constraint counter_deltas_pkey primary key,
  queue_id integer not null,
  ready integer not null default 0, scheduled integer not null default 0,
  running integer not null default 0, dead integer not null default 0,
  enqueued integer not null default 0, completed integer not null default 0,
  failed integer not null default 0, cancelled integer not null default 0,
  expired integer not null default 0, buried integer not null default 0,
  discarded integer not null default 0, blocked integer not null default 0,
  bytes bigint                                   -- not null where a bounded queue's waiting jobs change
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The depth of a bounded queue is read at each enqueue; other queues never enter this index.
create index counter_deltas_bounded_idx on {{schema}}.counter_deltas (queue_id)
  where bytes is not null;

create table {{schema}}.counters (
  queue_id integer constraint counters_pkey primary key,
  ready bigint not null default 0, scheduled bigint not null default 0,
  running bigint not null default 0, dead bigint not null default 0,
  enqueued bigint not null default 0, completed bigint not null default 0,
  failed bigint not null default 0, cancelled bigint not null default 0,
  expired bigint not null default 0, buried bigint not null default 0,
  discarded bigint not null default 0, blocked bigint not null default 0,
  bytes bigint not null default 0,
  -- finished jobs a second, lately, and when that was reckoned
  rate double precision not null default 0, rated_at timestamptz not null default {{schema}}.clock()
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- What is large is compressed with lz4 where the server was built with it: enqueueing 16 KiB of JSON takes
-- half the time that pglz takes.
do $$ begin
  alter table {{schema}}.jobs alter payload set compression lz4, alter errors set compression lz4;
  -- the partitions of later days take after their parent; this one is there already
  alter table {{schema}}.history alter payload set compression lz4,
    alter errors set compression lz4, alter result set compression lz4;
  alter table {{schema}}.history_default alter payload set compression lz4,
    alter errors set compression lz4, alter result set compression lz4;
exception when feature_not_supported then
  null;
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop table {{schema}}.counters;
drop table {{schema}}.counter_deltas;
drop table {{schema}}.groups;
drop table {{schema}}.seq_horizon;
drop function {{schema}}.ready_lanes(integer, smallint[], bigint[]);
drop function {{schema}}.next_lane(integer, smallint[], bigint[], smallint);
drop function {{schema}}.lane_starts(integer, smallint[], bigint[], bigint);
drop function {{schema}}.lane_floor(integer, smallint);
drop table {{schema}}.lane_floors;
drop function {{schema}}.history_of(bigint[]);
drop table {{schema}}.history_days;
drop table {{schema}}.history;
drop function {{schema}}.lane_priority(smallint);
drop function {{schema}}.plain_lane(smallint);
drop function {{schema}}.is_pending(bigint);
drop function {{schema}}.delta_bytes(integer, bigint);
drop function {{schema}}.attempts_of({{schema}}.jobs);
drop table {{schema}}.jobs;
drop sequence {{schema}}.job_seq;
