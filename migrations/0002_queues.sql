-- Queues: one row a queue. What a deploy declares (policy) and what an operator overrides (paused)
-- live in separate columns, so that a deploy never undoes an operator.

-- Up Migration

create table {{schema}}._queues (
  id                   integer generated always as identity constraint queues_pkey primary key,
  name                 text not null,
  -- policy: durations are milliseconds, null means none
  max_attempts         smallint not null default 10,
  backoff              text not null default 'exponential',
  backoff_ms           integer not null default 5000,
  backoff_max_ms       integer not null default 3600000,
  backoff_jitter       real not null default 0.2,
  timeout_ms           integer default 300000,
  ttl_ms               bigint,
  delay_ms             bigint not null default 0,
  -- of jobs that are pulled by receive()
  visibility_ms        integer not null default 30000,
  payload_bytes_max    integer not null default 1048576,
  retention_ms         bigint not null default 86400000,
  -- can be low: nobody is buried for what its neighbours did (see 0023_claim.sql)
  max_crashes          smallint not null default 3,
  -- jobs of one group key that may run at once; 1 is strict order
  group_concurrency    integer not null default 1,
  -- turns of one group key in a time (see 0009_groups.sql)
  group_rate_max       integer,
  group_rate_ms        integer not null default 1000,
  group_rate_burst     integer not null default 1,
  concurrency_max      integer,
  rate_max             integer,
  rate_ms              integer not null default 1000,
  rate_burst           integer,
  breaker_failures     smallint,
  breaker_window_ms    integer not null default 60000,
  breaker_cooldown_ms  integer not null default 30000,
  ageing_ms            bigint,
  dead_letter_queue_id integer not null,
  -- bounds of what waits (see 0017_bounds.sql)
  max_depth            integer,
  max_bytes            bigint,
  -- operator
  paused_at            timestamptz,
  paused_reason        text,
  closed_at            timestamptz,
  closed_reason        text,
  paused_until         timestamptz,
  -- its settles are looked at: true from the first concurrency limit or circuit breaker on
  is_watched           boolean not null default false,
  -- its claims look into limits
  is_limited           boolean generated always as (concurrency_max is not null
    or rate_max is not null or breaker_failures is not null) stored,
  -- priority ageing: begin of the last pass, and the seq up to which it goes
  aged_at              timestamptz not null default '-infinity',
  aged_seq             bigint,
  -- engine: job_seq when it got a bound; what is counted came later
  bounded_seq          bigint not null default 0,
  -- engine: enqueue() asks _pass_gate() about every job
  is_guarded           boolean not null generated always as
    (max_depth is not null or max_bytes is not null or closed_at is not null) stored,
  created_at           timestamptz not null default {{schema}}.clock(),
  -- a deleted queue keeps its row: an enqueue that raced the deletion must still find its queue
  deleted_at           timestamptz,
  constraint queues_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'),
  constraint queues_max_attempts_check check (max_attempts between 1 and 1000),
  constraint queues_backoff_check check (backoff in ('exponential', 'fixed')),
  constraint queues_backoff_ms_check check (backoff_ms between 0 and 2147483647),
  constraint queues_backoff_max_ms_check check (backoff_max_ms between 0 and 2147483647),
  constraint queues_backoff_jitter_check check (backoff_jitter between 0 and 1),
  constraint queues_timeout_ms_check check (timeout_ms between 1 and 2147483647),
  constraint queues_ttl_ms_check check (ttl_ms between 1 and 315360000000),
  constraint queues_delay_ms_check check (delay_ms between 0 and 315360000000),
  constraint queues_visibility_ms_check check (visibility_ms between 100 and 43200000),
  constraint queues_payload_bytes_max_check check (payload_bytes_max between 1 and 67108864),
  constraint queues_retention_ms_check check (retention_ms between 0 and 315360000000),
  constraint queues_max_crashes_check check (max_crashes between 1 and 1000),
  constraint queues_max_depth_check check (max_depth between 1 and 2147483647),
  constraint queues_max_bytes_check check (max_bytes between 1 and 1125899906842624),
  constraint queues_group_concurrency_check check (group_concurrency between 1 and 10000),
  constraint queues_group_rate_max_check check (group_rate_max between 1 and 1000000),
  constraint queues_group_rate_ms_check check (group_rate_ms between 1 and 86400000),
  constraint queues_group_rate_burst_check check (group_rate_burst between 1 and 1000000),
  constraint queues_concurrency_max_check check (concurrency_max between 1 and 1000000),
  constraint queues_rate_max_check check (rate_max between 1 and 1000000),
  constraint queues_rate_ms_check check (rate_ms between 1 and 86400000),
  constraint queues_rate_burst_check check (rate_burst between 1 and 1000000),
  constraint queues_breaker_failures_check check (breaker_failures between 1 and 100),
  constraint queues_breaker_window_ms_check check (breaker_window_ms between 1 and 86400000),
  constraint queues_breaker_cooldown_ms_check check (breaker_cooldown_ms between 1 and 86400000),
  constraint queues_ageing_ms_check check (ageing_ms between 1000 and 315360000000),
  constraint queues_dead_letter_queue_id_fkey
    foreign key (dead_letter_queue_id) references {{schema}}._queues (id)
);

create unique index queues_name_key on {{schema}}._queues (name) where deleted_at is null;

-- What upkeep looks for every second, so that it need not read every queue.
create index queues_paused_idx on {{schema}}._queues (paused_until) where paused_until is not null;

create index queues_retention_idx on {{schema}}._queues (retention_ms) where deleted_at is null;

create index queues_deleted_idx on {{schema}}._queues (deleted_at) where deleted_at is not null;

create index queues_dead_letter_idx on {{schema}}._queues (dead_letter_queue_id);

create index queues_ageing_idx on {{schema}}._queues (ageing_ms, id)
  where ageing_ms is not null and deleted_at is null;

-- Rows that are locked where one is to wait for another, or to leave the work to it: 0 by prune(), 1 to 64 by
-- sync_schedules(), 65 by tests that move the clock, 66 by sweep(), 67 by roll_up(). Not advisory locks, which every role can take that finds out their keys.
create table {{schema}}._locks (id integer constraint locks_pkey primary key);

insert into {{schema}}._locks select generate_series(0, 67);

-- Where dead jobs go unless their queue names another. Its own dead jobs stay in it, parked.
insert into {{schema}}._queues (name, dead_letter_queue_id) values ('dead-letters', 1);

create function {{schema}}._queue_id_of(p_name text) returns integer
language plpgsql stable security definer {{settings}} as $$
declare
  v_id integer;
begin
  select id into v_id from _queues where name = p_name and deleted_at is null;
  if not found then
    raise exception 'queue % does not exist', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW001', hint = 'create it with create_queue() or `howdah queues set`';
  end if;
  return v_id;
end $$;

-- The queues that a name means: one, or all that fit where it has a *, which stands for any text. No name of
-- a queue has one. They are locked in order of their ids, so that two such changes do not block each other.
create function {{schema}}._lock_queues(p_name text) returns integer[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[];
begin
  if p_name not like '%*%' or p_name is null then
    return array[_queue_id_of(p_name)];
  end if;
  v_ids := array(
    select id from _queues where deleted_at is null
      and name like replace(replace(replace(replace(p_name, E'\\', E'\\\\'), '%', E'\\%'), '_', E'\\_'), '*', '%')
    order by id for no key update);
  if v_ids = '{}' then
    raise exception 'no queue fits %', quote_literal(left(p_name, 140)) using errcode = 'HW001',
      hint = 'see the view queue_stats, or `howdah queues list`';
  end if;
  return v_ids;
end $$;

create function {{schema}}._names_of(p_queue_ids integer[]) returns text[]
language sql stable security definer {{settings}} as $$
  select array_agg(name order by name) from _queues where id = any (p_queue_ids)
$$;

-- Down Migration

drop function {{schema}}._names_of(integer[]);
drop function {{schema}}._lock_queues(text);
drop function {{schema}}._queue_id_of(text);
drop table {{schema}}._locks;
drop table {{schema}}._queues;
