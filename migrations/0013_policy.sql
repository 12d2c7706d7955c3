-- Policy: what a queue is declared to be, and changes of it.

-- Up Migration

-- A policy is checked and applied key by key; keys that are not given keep their value.
create function {{schema}}._apply_policy(p_queue_id integer, p_policy jsonb) returns void
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
    v_dead_letter_queue_id := _queue_id_of(p_policy ->> 'dead_letter_queue');
    if v_dead_letter_queue_id = p_queue_id and p_queue_id <> 1 then
      raise exception 'dead_letter_queue % is the queue itself',
        quote_literal(p_policy ->> 'dead_letter_queue') using errcode = 'HW003',
        hint = 'name another queue; the default is ''dead-letters''';
    end if;
  end if;

  -- an unchanged declaration, as every start of every process makes it, locks and writes nothing
  v_is_changed := exists (
    select from _queues o, jsonb_populate_record(o, p_policy) n where o.id = p_queue_id
      and (n is distinct from o or v_dead_letter_queue_id <> o.dead_letter_queue_id));
  if v_is_changed then
    -- first: the statement below writes every key as it reads it
    perform 1 from _queues q where q.id = p_queue_id for no key update;
  end if;
  update _queues q set
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
  from _queues o, jsonb_populate_record(o, p_policy) n
  where v_is_changed and q.id = p_queue_id and o.id = p_queue_id;
  if v_is_changed and p_policy ? 'group_concurrency' then
    perform _begin_opening(p_queue_id);
  end if;
  if v_is_changed and p_policy ?| '{max_depth,max_bytes}' then
    perform _begin_counting(p_queue_id);
  end if;
  insert into _limits (queue_id) select q.id from _queues q where q.id = p_queue_id and q.is_limited
    and not exists (select from _limits l where l.queue_id = q.id)
  on conflict do nothing;
exception
  when check_violation or not_null_violation or numeric_value_out_of_range
    or invalid_text_representation then
    raise exception 'policy % is not valid: %', left(p_policy::text, 500), left(sqlerrm, 500) using errcode = 'HW003',
      hint = 'see the bounds of policy keys in docs/sql.md';
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
  select id into v_id from _queues where name = p_name and deleted_at is null;
  if not found then
    insert into _queues (name, dead_letter_queue_id) values (p_name, 1)
    on conflict (name) where deleted_at is null do nothing
    returning id into v_id;
    if v_id is null then  -- another session created it meanwhile
      select id into v_id from _queues where name = p_name and deleted_at is null;
    end if;
  end if;
  if p_policy <> '{}' then
    perform _apply_policy(v_id, p_policy);
  end if;
  return v_id;
end $$;

create function {{schema}}.alter_queue(p_name text, p_policy jsonb) returns integer
language plpgsql security definer {{settings}} as $$
begin
  perform _queue_id_of(p_name);
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
    where not exists (select from _queues q where q.name = e ->> 'queue' and q.deleted_at is null)
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
    left join _queues q on q.name = e ->> 'queue' and q.deleted_at is null
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
  return query select h.name, exists (select from _queues q where q.name = h.name and q.deleted_at is null)
    from (select distinct u as name from unnest(v_held) u) h order by h.name;
end $$;

-- Down Migration

drop function {{schema}}.create_queues(jsonb);
drop function {{schema}}.alter_queue(text, jsonb);
drop function {{schema}}.create_queue(text, jsonb);
drop function {{schema}}._apply_policy(integer, jsonb);
