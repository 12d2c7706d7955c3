-- Queues: one row a queue. What a deploy declares (policy) and what an operator overrides (paused)
-- live in separate columns, so that a deploy never undoes an operator.

-- Up Migration

-- The one clock of the installation. Everything that compares or stores a time calls it, so that a
-- test can move time by replacing this function. Inlined by the planner: it costs nothing.
-- It is volatile, so an index is searched for a variable of its value or for (select clock()) only: a bare clock() there
-- would be compared with each entry.
create function {{schema}}.clock() returns timestamptz
language sql volatile parallel safe as 'select pg_catalog.clock_timestamp()';

create table {{schema}}.queues (
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
  -- can be low: nobody is buried for what its neighbours did (see 0017_suspects.sql)
  max_crashes          smallint not null default 3,
  -- jobs of one group key that may run at once; 1 is strict order
  group_concurrency    integer not null default 1,
  -- turns of one group key in a time (see 0016_group_turns.sql)
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
  -- bounds of what waits (see 0011_admission.sql)
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
  -- engine: enqueue() asks pass_gate() about every job
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
    foreign key (dead_letter_queue_id) references {{schema}}.queues (id)
);

create unique index queues_name_key on {{schema}}.queues (name) where deleted_at is null;
-- What upkeep looks for every second, so that it need not read every queue.
create index queues_paused_idx on {{schema}}.queues (paused_until) where paused_until is not null;
create index queues_retention_idx on {{schema}}.queues (retention_ms) where deleted_at is null;
create index queues_deleted_idx on {{schema}}.queues (deleted_at) where deleted_at is not null;
create index queues_dead_letter_idx on {{schema}}.queues (dead_letter_queue_id);
create index queues_ageing_idx on {{schema}}.queues (ageing_ms, id)
  where ageing_ms is not null and deleted_at is null;

-- A handler was told to come again later (HTTP 429): nothing is claimed until the last of these is over. Only
-- inserted, in no row that an operator may hold: a settle waits for nobody (see hold_queue in 0013_limits.sql).
create table {{schema}}.holds (
  queue_id integer not null,
  until    timestamptz not null,
  id       bigint generated always as identity,
  reason   text not null,
  at       timestamptz not null,  -- when it was said: no hold lasts longer than was asked for
  constraint holds_pkey primary key (queue_id, until, id)
) with (autovacuum_vacuum_threshold = 100);

create index holds_until_idx on {{schema}}.holds (until);

-- One row a queue that has, or had, a limit or a circuit breaker: see 0013_limits.sql.
create table {{schema}}.limits (
  queue_id       integer constraint limits_pkey primary key,
  running        integer not null default 0,   -- sum of jobs.permit and of permits in limit_deltas
  is_hit         boolean not null default false, -- a claim found no room: ring when there is some
  tokens         double precision not null default 1000000,
  refilled_at    timestamptz not null default {{schema}}.clock(),
  circuit        text not null default 'closed',
  circuit_until  timestamptz,                  -- end of the cool-down; null: open until closed by hand
  circuit_reason text,
  circuit_ms     integer,                      -- length of the cool-down; null: opened by hand
  probe_at       timestamptz,                  -- when the probe that is under way was claimed
  failed_at      timestamptz[] not null default '{}',
  -- where folding begins: everything committed up to mark was folded at least a second ago
  mark           bigint not null default 0,
  next_mark      bigint not null default 0,
  marked_at      timestamptz not null default '-infinity',
  folded_at      timestamptz not null default '-infinity',
  constraint limits_circuit_check check (circuit in ('closed', 'open', 'half-open'))
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- What settles give back: only ever inserted, so that no settle waits for another or for a claim.
create table {{schema}}.limit_deltas (
  queue_id  integer not null,
  id        bigint generated always as identity,
  permits   integer not null default 0,
  failed_at timestamptz,
  succeeded boolean not null default false,
  constraint limit_deltas_pkey primary key (queue_id, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- What a claim may take of a queue with limits.
create type {{schema}}.room as (
  at       timestamptz,
  jobs     integer,
  permits  integer,            -- null: no bound on what runs
  tokens   double precision,   -- null: no rate
  counts   boolean,            -- jobs take permits
  is_probe boolean,
  reason   text,               -- why there is no more room
  again_ms bigint              -- when to come again
);

-- What was picked of a lane: the lists of claim_many().
create type {{schema}}.picked as (
  ctids tid[], last_seq bigint, top_seq bigint, ids text, enqueued text, payloads text, rest jsonb,
  is_cut boolean   -- more jobs are there than fit
);

-- Rows that are locked where one is to wait for another, or to leave the work to it: 0 by prune(), 1 to 64 by
-- sync_schedules(), 65 by tests that move the clock, 66 by sweep(), 67 by roll_up(). Not advisory locks, which every role can take that finds out their keys.
create table {{schema}}.locks (id integer constraint locks_pkey primary key);
insert into {{schema}}.locks select generate_series(0, 67);

-- Where dead jobs go unless their queue names another. Its own dead jobs stay in it, parked.
insert into {{schema}}.queues (name, dead_letter_queue_id) values ('dead-letters', 1);

-- A policy is checked and applied key by key; keys that are not given keep their value.
create function {{schema}}.apply_policy(p_queue_id integer, p_policy jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_dead_letter_queue_id integer;
  v_is_changed boolean;
begin
  select k into v_key from jsonb_object_keys(p_policy) k
  where k not in ('max_attempts', 'backoff', 'backoff_ms', 'backoff_max_ms', 'backoff_jitter',
    'timeout_ms', 'ttl_ms', 'delay_ms', 'visibility_ms', 'payload_bytes_max', 'retention_ms', 'max_crashes',
    'group_concurrency', 'group_rate_max', 'group_rate_ms', 'group_rate_burst', 'dead_letter_queue', 'max_depth', 'max_bytes',
    'concurrency_max', 'rate_max', 'rate_ms', 'rate_burst', 'breaker_failures',
    'breaker_window_ms', 'breaker_cooldown_ms', 'ageing_ms')
  limit 1;
  if found then
    raise exception 'unknown policy key %', quote_literal(left(v_key, 140)) using errcode = 'HW003',
      hint = 'see the table of policy keys in docs/sql.md';
  end if;

  if p_policy ? 'dead_letter_queue' then
    if jsonb_typeof(p_policy -> 'dead_letter_queue') <> 'string' then
      raise exception 'dead_letter_queue % is not a name', left((p_policy -> 'dead_letter_queue')::text, 140)
        using errcode = 'HW003', hint = 'name a queue; the default is ''dead-letters''';
    end if;
    v_dead_letter_queue_id := queue_id_of(p_policy ->> 'dead_letter_queue');
    if v_dead_letter_queue_id = p_queue_id and p_queue_id <> 1 then
      raise exception 'dead_letter_queue % is the queue itself',
        quote_literal(p_policy ->> 'dead_letter_queue') using errcode = 'HW003',
        hint = 'name another queue; the default is ''dead-letters''';
    end if;
  end if;

  -- an unchanged declaration, as every start of every process makes it, locks and writes nothing
  v_is_changed := exists (
    select from queues o, jsonb_populate_record(o, p_policy) n where o.id = p_queue_id
      and (n is distinct from o or v_dead_letter_queue_id <> o.dead_letter_queue_id));
  if v_is_changed then
    -- first: the statement below writes every key as it reads it
    perform 1 from queues q where q.id = p_queue_id for no key update;
  end if;
  update queues q set
    max_attempts = n.max_attempts, backoff = n.backoff, backoff_ms = n.backoff_ms,
    backoff_max_ms = n.backoff_max_ms, backoff_jitter = n.backoff_jitter,
    timeout_ms = n.timeout_ms, ttl_ms = n.ttl_ms, delay_ms = n.delay_ms,
    visibility_ms = n.visibility_ms, payload_bytes_max = n.payload_bytes_max, retention_ms = n.retention_ms,
    max_crashes = n.max_crashes, group_concurrency = n.group_concurrency,
    group_rate_max = n.group_rate_max, group_rate_ms = n.group_rate_ms,
    group_rate_burst = n.group_rate_burst,
    max_depth = n.max_depth, max_bytes = n.max_bytes,
    bounded_seq = case
      when coalesce(o.max_depth, o.max_bytes) is null and coalesce(n.max_depth, n.max_bytes) is not null
      then (select last_value from job_seq) else o.bounded_seq end,
    concurrency_max = n.concurrency_max, rate_max = n.rate_max, rate_ms = n.rate_ms,
    rate_burst = n.rate_burst, breaker_failures = n.breaker_failures,
    breaker_window_ms = n.breaker_window_ms, breaker_cooldown_ms = n.breaker_cooldown_ms,
    ageing_ms = n.ageing_ms, is_watched = q.is_watched or n.concurrency_max is not null
      or n.breaker_failures is not null,
    dead_letter_queue_id = coalesce(v_dead_letter_queue_id, q.dead_letter_queue_id)
  from queues o, jsonb_populate_record(o, p_policy) n
  where v_is_changed and q.id = p_queue_id and o.id = p_queue_id;
  if v_is_changed and p_policy ? 'group_concurrency' then
    perform begin_opening(p_queue_id);
  end if;
  if v_is_changed and p_policy ?| '{max_depth,max_bytes}' then
    perform begin_counting(p_queue_id);
  end if;
  insert into limits (queue_id) select q.id from queues q where q.id = p_queue_id and q.is_limited
    and not exists (select from limits l where l.queue_id = q.id)
  on conflict do nothing;
exception
  when check_violation or not_null_violation or numeric_value_out_of_range
    or invalid_text_representation then
    raise exception 'policy % is not valid: %', left(p_policy::text, 500), left(sqlerrm, 500) using errcode = 'HW003',
      hint = 'see the bounds of policy keys in docs/sql.md';
end $$;

create function {{schema}}.queue_id_of(p_name text) returns integer
language plpgsql stable security definer {{settings}} as $$
declare
  v_id integer;
begin
  select id into v_id from queues where name = p_name and deleted_at is null;
  if not found then
    raise exception 'queue % does not exist', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW001', hint = 'create it with create_queue() or `howdah queues set`';
  end if;
  return v_id;
end $$;

-- Idempotent: creates the queue, or applies the given policy keys to the one that is there.
create function {{schema}}.create_queue(p_name text, p_policy jsonb default '{}') returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_id integer;
begin
  if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$' then
    raise exception 'queue name % is not valid', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW002',
      hint = 'use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit';
  end if;
  if jsonb_typeof(p_policy) is distinct from 'object' then
    raise exception 'the policy must be a JSON object' using errcode = 'HW003',
      hint = 'for example {"max_attempts": 5}; see the table of policy keys in docs/sql.md';
  end if;
  select id into v_id from queues where name = p_name and deleted_at is null;
  if not found then
    insert into queues (name, dead_letter_queue_id) values (p_name, 1)
    on conflict (name) where deleted_at is null do nothing
    returning id into v_id;
    if v_id is null then  -- another session created it meanwhile
      select id into v_id from queues where name = p_name and deleted_at is null;
    end if;
  end if;
  if p_policy <> '{}' then
    perform apply_policy(v_id, p_policy);
  end if;
  return v_id;
end $$;

create function {{schema}}.alter_queue(p_name text, p_policy jsonb) returns integer
language plpgsql security definer {{settings}} as $$
begin
  perform queue_id_of(p_name);
  return create_queue(p_name, p_policy);
end $$;

-- create_queue() for many: [{"queue", "policy"}]. What an open transaction holds is passed over after a moment, and
-- returned; is_there: the queue can be used, as it is. The caller asks for it again. An error is one of all.
-- Lock order: names that are new, then queues by id.
create function {{schema}}.create_queues(p_queues jsonb) returns table (queue text, is_there boolean)
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
#variable_conflict use_column
declare
  v_ask record;
  v_held text[] := '{}';
  v_begun_at timestamptz := clock_timestamp();
begin
  if jsonb_typeof(p_queues) is distinct from 'array' then
    raise exception 'the queues must be a JSON array, not %', coalesce(jsonb_typeof(p_queues), 'null')
      using errcode = 'HW003', hint = 'for example [{"queue": "email", "policy": {"max_attempts": 5}}]';
  end if;
  for v_ask in
    select null::integer as id, e ->> 'queue' as name, null::jsonb as policy, 0 as n
    from jsonb_array_elements(p_queues) e
    where not exists (select from queues q where q.name = e ->> 'queue' and q.deleted_at is null)
    group by 2 order by 2
  loop
    begin
      perform create_queue(v_ask.name);
    exception when lock_not_available then
      v_held := v_held || v_ask.name;
      perform set_config('lock_timeout',
        case when clock_timestamp() > v_begun_at + interval '1 second' then '1ms' else '10ms' end, true);
    end;
  end loop;
  for v_ask in
    select q.id, e ->> 'queue' as name, coalesce(e -> 'policy', '{}') as policy, n
    from jsonb_array_elements(p_queues) with ordinality u (e, n)
    left join queues q on q.name = e ->> 'queue' and q.deleted_at is null
    where e ->> 'queue' <> all (v_held) is not false
    order by q.id, n
  loop
    begin
      perform create_queue(v_ask.name, v_ask.policy);
    exception when lock_not_available then
      v_held := v_held || v_ask.name;
      perform set_config('lock_timeout',
        case when clock_timestamp() > v_begun_at + interval '1 second' then '1ms' else '10ms' end, true);
    end;
  end loop;
  return query select h.name, exists (select from queues q where q.name = h.name and q.deleted_at is null)
    from (select distinct u as name from unnest(v_held) u) h order by h.name;
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.create_queues(jsonb);
drop function {{schema}}.alter_queue(text, jsonb);
drop function {{schema}}.create_queue(text, jsonb);
drop function {{schema}}.queue_id_of(text);
drop function {{schema}}.apply_policy(integer, jsonb);
drop type {{schema}}.picked;
drop type {{schema}}.room;
drop table {{schema}}.limit_deltas;
drop table {{schema}}.limits;
drop table {{schema}}.locks;
drop table {{schema}}.holds;
drop table {{schema}}.queues;
drop function {{schema}}.clock();
