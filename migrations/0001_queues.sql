-- Queues: one row a queue. What a deploy declares (policy) and what an operator overrides (paused)
-- live in separate columns, so that a deploy never undoes an operator.

-- Up Migration

-- The one clock of the installation. Everything that compares or stores a time calls it, so that a
-- test can move time by replacing this function. Inlined by the planner: it costs nothing.
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
  payload_bytes_max    integer not null default 1048576,
  retention_ms         bigint not null default 86400000,
  -- not low: a killed worker's other jobs are counted too, guilty or not
  max_crashes          smallint not null default 10,
  dead_letter_queue_id integer not null,
  -- bounds of what waits (see 0011_admission.sql)
  max_depth            integer,
  max_bytes            bigint,
  -- operator
  paused_at            timestamptz,
  paused_reason        text,
  closed_at            timestamptz,
  closed_reason        text,
  -- engine: lanes ever used, in the order they are served (see 0002_jobs.sql)
  lanes                smallint[] not null default '{201}',
  -- engine: enqueue() asks admit() about every job
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
  constraint queues_payload_bytes_max_check check (payload_bytes_max between 1 and 67108864),
  constraint queues_retention_ms_check check (retention_ms between 0 and 315360000000),
  constraint queues_max_crashes_check check (max_crashes between 1 and 1000),
  constraint queues_max_depth_check check (max_depth between 1 and 2147483647),
  constraint queues_max_bytes_check check (max_bytes between 1 and 1125899906842624),
  constraint queues_dead_letter_queue_id_fkey
    foreign key (dead_letter_queue_id) references {{schema}}.queues (id)
);

create unique index queues_name_key on {{schema}}.queues (name) where deleted_at is null;

-- Where dead jobs go unless their queue names another. Its own dead jobs stay in it, parked.
insert into {{schema}}.queues (name, dead_letter_queue_id) values ('dead-letters', 1);

-- A policy is checked and applied key by key; keys that are not given keep their value.
create function {{schema}}.apply_policy(p_queue_id integer, p_policy jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_dead_letter_queue_id integer;
begin
  select k into v_key from jsonb_object_keys(p_policy) k
  where k not in ('max_attempts', 'backoff', 'backoff_ms', 'backoff_max_ms', 'backoff_jitter',
    'timeout_ms', 'ttl_ms', 'delay_ms', 'payload_bytes_max', 'retention_ms', 'max_crashes',
    'dead_letter_queue', 'max_depth', 'max_bytes')
  limit 1;
  if found then
    raise exception 'unknown policy key %', quote_literal(v_key) using errcode = 'HW003',
      hint = 'see the table of policy keys in docs/sql.md';
  end if;

  if p_policy ? 'dead_letter_queue' then
    if jsonb_typeof(p_policy -> 'dead_letter_queue') <> 'string' then
      raise exception 'dead_letter_queue % is not a name', p_policy -> 'dead_letter_queue'
        using errcode = 'HW003', hint = 'name a queue; the default is ''dead-letters''';
    end if;
    v_dead_letter_queue_id := queue_id_of(p_policy ->> 'dead_letter_queue');
    if v_dead_letter_queue_id = p_queue_id and p_queue_id <> 1 then
      raise exception 'dead_letter_queue % is the queue itself',
        quote_literal(p_policy ->> 'dead_letter_queue') using errcode = 'HW003',
        hint = 'name another queue; the default is ''dead-letters''';
    end if;
  end if;

  update queues q set
    max_attempts = n.max_attempts, backoff = n.backoff, backoff_ms = n.backoff_ms,
    backoff_max_ms = n.backoff_max_ms, backoff_jitter = n.backoff_jitter,
    timeout_ms = n.timeout_ms, ttl_ms = n.ttl_ms, delay_ms = n.delay_ms,
    payload_bytes_max = n.payload_bytes_max, retention_ms = n.retention_ms,
    max_crashes = n.max_crashes, max_depth = n.max_depth, max_bytes = n.max_bytes,
    dead_letter_queue_id = coalesce(v_dead_letter_queue_id, q.dead_letter_queue_id)
  from queues o, jsonb_populate_record(o, p_policy) n
  where q.id = p_queue_id and o.id = p_queue_id
    -- an unchanged declaration, as every start of every process makes it, writes nothing
    and (n is distinct from o or v_dead_letter_queue_id <> q.dead_letter_queue_id);
  if found and p_policy ?| '{max_depth,max_bytes}' then
    perform begin_counting(p_queue_id);
  end if;
exception
  when check_violation or not_null_violation or numeric_value_out_of_range
    or invalid_text_representation then
    raise exception 'policy % is not valid: %', p_policy, sqlerrm using errcode = 'HW003',
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

-- Adds a lane to those the claim looks into. Rare: once per queue and priority.
create function {{schema}}.add_lane(p_queue_id integer, p_lane smallint) returns void
language sql security definer {{settings}} as $$
  update queues set lanes = array(select distinct l from unnest(lanes || p_lane) l order by l)
  where id = p_queue_id and not p_lane = any (lanes)
$$;

-- Down Migration

drop function {{schema}}.add_lane(integer, smallint);
drop function {{schema}}.alter_queue(text, jsonb);
drop function {{schema}}.create_queue(text, jsonb);
drop function {{schema}}.queue_id_of(text);
drop function {{schema}}.apply_policy(integer, jsonb);
drop table {{schema}}.queues;
drop function {{schema}}.clock();
