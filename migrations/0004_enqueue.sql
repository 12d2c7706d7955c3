-- Enqueue: any number of jobs of any queues in one text parameter, callable from every driver:
--   select * from enqueue($1::text::jsonb)

-- Up Migration

-- A time as text, or null when it is none. Only run_at given as text pays for the exception block.
create function {{schema}}.parse_time(p_text text) returns timestamptz
language plpgsql stable security definer {{settings}} {{plain}} as $$
begin
  return p_text::timestamptz;
exception when others then
  return null;
end $$;

create function {{schema}}.run_at_of(p_job jsonb, p_delay_ms bigint, p_now timestamptz)
returns timestamptz
language sql stable as $$
  select case coalesce(jsonb_typeof(p_job -> 'run_at'), 'null')
    when 'number' then case when (p_job -> 'run_at')::numeric between 0 and 32503680000000
      then to_timestamp((round((p_job -> 'run_at')::numeric, 3) / 1000)::float8) end
    when 'string' then {{schema}}.parse_time(p_job ->> 'run_at')
    else p_now + coalesce(round((p_job ->> 'delay_ms')::numeric, 3)::float8, p_delay_ms) * interval '1 millisecond'
  end
$$;

-- What is wrong with a whole number among the options of a job, as a boolean.
create function {{schema}}.is_out_of_range(p_value jsonb, p_min numeric, p_max numeric)
returns boolean
language sql immutable as $$
  select case coalesce(jsonb_typeof(p_value), 'null')
    when 'null' then false
    when 'number' then p_value::numeric not between p_min and p_max or p_value::numeric % 1 <> 0
    else true
  end
$$;

-- The length of the text of a value; 2147483647 where that is beyond what the server can hold.
create function {{schema}}.text_bytes(p_value jsonb) returns integer
language plpgsql stable security definer {{settings}} as $$
begin
  return octet_length(p_value::text);
exception when program_limit_exceeded or out_of_memory then
  return 2147483647;
end $$;

-- Whether a JSON text may have a number much longer as jsonb writes it out than it is here: an exponent of two digits or
-- more. It may say so of text within a string, too. Some 3 ns a byte.
create function {{schema}}.has_exponent(p_text text) returns boolean
language sql immutable as $$
  select p_text ~ E'(^|[],:[[:space:]\x1e])-?[0-9][0-9.]*[eE][-+]?[0-9]{2}'
$$;

-- The same of a value: whether numbers in it are very large or very small. A zero counts where p_or_zero, for it may have
-- decimals, too: 0e-16383.
create function {{schema}}.is_wide(p_value jsonb, p_or_zero boolean default false) returns boolean
language sql immutable as $$
  select case when p_or_zero then jsonb_path_exists(p_value,
      'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))')
    else jsonb_path_exists(p_value,
      'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22 && @ != 0))') end
$$;

-- What is wrong with a value that is_wide(): 'unfit' where a number in it is one that no client holds, which is what
-- JavaScript reads as infinite or has more than 350 decimals; 'long' where its text is longer than p_bytes_max. It makes no
-- text, and counts a large number as a third of its length at least: a text made after it has at most four times what is allowed.
create function {{schema}}.number_flaw(p_value jsonb, p_bytes_max integer) returns text
language plpgsql stable security definer {{settings}} as $$
declare
  v_bytes bigint;
  v_is_fit boolean;
begin
  select coalesce(sum(scale(n) + case when n between -1e22 and 1e22 then 0 when n between -1e70 and 1e70 then 22
      when n between -1e150 and 1e150 then 70 else 150 end), 0),
    coalesce(bool_and(scale(n) <= 350 and n between -1.797693134862315807e308 and 1.797693134862315807e308), true)
  into v_bytes, v_is_fit
  from (select e::numeric as n from jsonb_array_elements(jsonb_path_query_array(p_value,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))')) e) x;
  return case when not v_is_fit then 'unfit' when v_bytes > p_bytes_max then 'long' end;
end $$;

-- Whether the text of a value is longer than it may be, or has a number that no client holds. The stored form does not
-- tell: a number such as 1e131071 takes some 16 bytes of it and 131,072 of text. Text is made only of what is neither short
-- nor wide. What is stored takes no more than four times its text. p_may_be_wide false: it was looked at before.
create function {{schema}}.is_too_long(p_value jsonb, p_bytes_max integer, p_may_be_wide boolean default true)
returns boolean
language sql stable as $$
  select case
    when p_may_be_wide and {{schema}}.is_wide(p_value, pg_column_size(p_value) > 4096)
      and {{schema}}.number_flaw(p_value, p_bytes_max) is not null then true
    when pg_column_size(p_value) <= least(p_bytes_max / 4000, 262) then false
    when pg_column_size(p_value) > 4 * p_bytes_max::bigint + 100 then true
    when pg_column_size(p_value) <= 65536 then octet_length(p_value::text) > p_bytes_max
    else {{schema}}.text_bytes(p_value) > p_bytes_max end
$$;

-- Whether it is nested deeper than clients take: JSON_DEPTH_MAX in src/core/json.ts. A level takes 8 bytes at least.
create function {{schema}}.is_too_deep(p_value jsonb) returns boolean
language sql stable as $$
  select pg_column_size(p_value) > 4000 and jsonb_path_exists(p_value,
    'strict $.**{501} ? (@.type() == "array" || @.type() == "object")')
$$;

-- Whether what is given as "dedupe" cannot be used; null is as good as nothing.
create function {{schema}}.is_bad_dedupe(p_dedupe jsonb) returns boolean
language sql immutable as $$
  select case jsonb_typeof(p_dedupe) when 'null' then false when 'object' then
      coalesce(jsonb_typeof(p_dedupe -> 'key'), '') <> 'string'
      or octet_length(p_dedupe ->> 'key') not between 1 and 1024
      or {{schema}}.is_out_of_range(p_dedupe -> 'window_ms', 1, 315360000000)
      or coalesce(p_dedupe ->> 'mode', 'skip') not in ('skip', 'replace', 'throttle', 'latest')
      or (p_dedupe - '{key,window_ms,mode}'::text[]) <> '{}'
    else true end
$$;

-- A job weighs 1 to 1000, and no more than what the limits of its queue let through at once.
create function {{schema}}.is_weight_wrong(p_job jsonb, p_queue_id integer) returns boolean
language sql stable as $$
  select {{schema}}.is_out_of_range(p_job -> 'weight', 1, 1000) or exists (
    select from {{schema}}.queues q where q.id = p_queue_id
      and (p_job ->> 'weight')::numeric > least(q.concurrency_max, q.rate_max))
$$;

-- Whether a job can be added to this batch, as a SQLSTATE: null where it can. The lock keeps the batch open
-- until the end of the transaction.
create function {{schema}}.batch_problem(p_batch jsonb) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
  v_is_closed boolean;
begin
  if jsonb_typeof(p_batch) = 'null' then
    return null;
  elsif jsonb_typeof(p_batch) in ('string', 'number') and p_batch #>> '{}' ~ '^[0-9]{1,18}$' then
    v_id := p_batch #>> '{}';
  end if;
  perform 1 from batches where id = v_id for key share;
  -- read again, for it may have been closed while its lock was waited for
  select closed_at is not null into v_is_closed from batches where id = v_id;
  return case v_is_closed when false then null when true then 'HW201' else 'HW200' end;
end $$;

-- Whether what a job has besides payload and headers, which is written out by who looks at it, has more wide numbers than
-- there are options.
create function {{schema}}.has_wide_options(p_job jsonb) returns boolean
language sql immutable as $$
  select jsonb_array_length(jsonb_path_query_array(
    case jsonb_typeof(p_job) when 'object' then p_job - '{payload,headers}'::text[] else p_job end,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22 && @ != 0))')) > 8
$$;

-- What is wrong with a job because numbers in it are wide, as a SQLSTATE; null when nothing is.
create function {{schema}}.number_problem(p_job jsonb, p_payload_bytes_max integer) returns text
language sql stable as $$
  select case when {{schema}}.has_wide_options(p_job) then 'HW018' else coalesce(
    case {{schema}}.number_flaw(p_job -> 'payload', p_payload_bytes_max)
      when 'unfit' then 'HW010' when 'long' then 'HW011' end,
    case when {{schema}}.number_flaw(p_job -> 'headers', 16384) is not null then 'HW015' end) end
$$;

-- The SQLSTATE of the first thing wrong with a job, null when it is good. p_may_be_wide as in is_too_long().
-- Volatile, as clock() is: only so can the planner inline it.
create function {{schema}}.job_problem(
  p_job jsonb, p_queue_id integer, p_payload_bytes_max integer, p_may_be_wide boolean default true
) returns text
language sql volatile as $$
  select coalesce(case when p_may_be_wide and {{schema}}.is_wide(p_job, true)
    then {{schema}}.number_problem(p_job, coalesce(p_payload_bytes_max, 1048576)) end, case
    when jsonb_typeof(p_job) <> 'object' then 'HW018'
    when p_queue_id is null then 'HW001'
    when not p_job ? 'payload' then 'HW010'
    when {{schema}}.is_too_long(p_job -> 'payload', p_payload_bytes_max, false) then 'HW011'
    when {{schema}}.is_too_deep(p_job -> 'payload') then 'HW010'
    when {{schema}}.is_out_of_range(p_job -> 'priority', -100, 100) then 'HW012'
    when case coalesce(jsonb_typeof(p_job -> 'delay_ms'), 'null') when 'null' then false
      when 'number' then (p_job -> 'delay_ms')::numeric not between 0 and 315360000000
      else true end then 'HW013'
    when coalesce(jsonb_typeof(p_job -> 'run_at'), 'null') <> 'null' and coalesce(
      {{schema}}.run_at_of(p_job, 0, '-infinity') not between '2000-01-01 00:00:00+00'
        and {{schema}}.clock() + interval '10 years', true) then 'HW014'
    when coalesce(jsonb_typeof(p_job -> 'headers'), 'null') not in ('null', 'object')
      or p_job ? 'headers' and (pg_column_size(p_job -> 'headers') > 16384
        or {{schema}}.is_too_long(p_job -> 'headers', 16384, false) or {{schema}}.is_too_deep(p_job -> 'headers'))
      then 'HW015'
    when {{schema}}.is_out_of_range(p_job -> 'max_attempts', 1, 1000) then 'HW016'
    when {{schema}}.is_out_of_range(p_job -> 'ttl_ms', 1, 315360000000) then 'HW017'
    when p_job ? 'dedupe' and {{schema}}.is_bad_dedupe(p_job -> 'dedupe') then 'HW042'
    when coalesce(p_job -> 'on_full', '"refuse"') not in ('"refuse"', '"drop_oldest"') then 'HW043'
    when coalesce(jsonb_typeof(p_job -> 'group'), 'null') <> 'null'
      and not (jsonb_typeof(p_job -> 'group') = 'string'
        and length(p_job ->> 'group') between 1 and 255) then 'HW050'
    when p_job ? 'weight' and {{schema}}.is_weight_wrong(p_job, p_queue_id) then 'HW060'
    when p_job ? 'batch' then {{schema}}.batch_problem(p_job -> 'batch')
  end)
$$;

-- The code, the message with the value, and the remedy, for one problem of one job.
create function {{schema}}.describe_problem(
  p_state text, p_job jsonb, p_details jsonb default null,
  out code text, out message text, out hint text
)
language plpgsql stable security definer {{settings}} as $$
declare
  v_max integer;
begin
  case p_state
    when 'HW001' then
      code := 'HOWDAH_QUEUE_UNKNOWN';
      message := format('queue %s does not exist',
        coalesce(quote_literal(left(p_job ->> 'queue', 140)), 'null'));
      hint := 'create it with create_queue() or `howdah queues set`';
    when 'HW010' then
      code := 'HOWDAH_PAYLOAD_INVALID';
      if is_too_deep(p_job -> 'payload') then
        message := 'payload is nested deeper than 500 levels';
        hint := 'flatten it, or store it elsewhere and enqueue a reference';
      elsif p_job ? 'payload' then
        message := 'payload has a number that no client holds: beyond 1.8e308, or with more than 350 decimals';
        hint := 'give it as text';
      else
        message := 'payload is missing';
        hint := 'give "payload" any JSON value; null is one';
      end if;
    when 'HW011' then
      code := 'HOWDAH_PAYLOAD_TOO_LARGE';
      select payload_bytes_max into v_max from queues
      where name = p_job ->> 'queue' and deleted_at is null;
      message := format('payload has %s bytes, queue %L allows %s',
        case when pg_column_size(p_job -> 'payload') <= greatest(65536, 2 * v_max::bigint)
          and not is_wide(p_job -> 'payload', true) then text_bytes(p_job -> 'payload')::text else 'too many' end, p_job ->> 'queue', v_max);
      hint := 'store large data elsewhere and enqueue a reference, or raise payload_bytes_max';
    when 'HW012' then
      code := 'HOWDAH_PRIORITY_INVALID';
      message := format('priority %s is not valid', left(p_job ->> 'priority', 40));
      hint := 'use a whole number from -100 to 100; higher runs first';
    when 'HW013' then
      code := 'HOWDAH_DELAY_INVALID';
      message := format('delay_ms %s is not valid', left(p_job ->> 'delay_ms', 40));
      hint := 'use milliseconds from 0 to 315360000000 (10 years)';
    when 'HW014' then
      code := 'HOWDAH_RUN_AT_INVALID';
      message := format('run_at %s is not valid', left(p_job ->> 'run_at', 60));
      hint := 'use an ISO 8601 time with zone, or epoch milliseconds, from 2000 to 10 years ahead';
    when 'HW015' then
      code := 'HOWDAH_HEADERS_INVALID';
      message := 'headers must be a JSON object of at most 16384 bytes and 500 levels, without numbers beyond 1.8e308';
      hint := 'put large data into the payload';
    when 'HW016' then
      code := 'HOWDAH_ATTEMPTS_INVALID';
      message := format('max_attempts %s is not valid', left(p_job ->> 'max_attempts', 40));
      hint := 'use a whole number from 1 to 1000';
    when 'HW017' then
      code := 'HOWDAH_TTL_INVALID';
      message := format('ttl_ms %s is not valid', left(p_job ->> 'ttl_ms', 40));
      hint := 'use whole milliseconds from 1 to 315360000000 (10 years)';
    when 'HW040' then
      code := 'HOWDAH_QUEUE_FULL';
      message := format('queue %L is full: %s %s wait, %s are allowed', p_job ->> 'queue',
        p_details ->> case p_details ->> 'unit' when 'bytes' then 'bytes' else 'depth' end,
        p_details ->> 'unit', p_details ->> 'bound');
      hint := format('try again in %s ms, or raise max_depth or max_bytes',
        p_details ->> 'retry_after_ms');
    when 'HW041' then
      code := 'HOWDAH_QUEUE_CLOSED';
      message := format('queue %L is closed to new jobs%s', p_job ->> 'queue',
        coalesce(': ' || (p_details ->> 'reason'), ''));
      hint := 'open it with open_queue() or `howdah queues open`';
    when 'HW042' then
      code := 'HOWDAH_DEDUPE_INVALID';
      message := format('dedupe %s is not valid', left((p_job -> 'dedupe')::text, 120));
      hint := 'give {"key": 1 to 1024 bytes, "window_ms": 1 to 315360000000, "mode": "skip", '
        '"replace", "throttle" or "latest"}';
    when 'HW043' then
      code := 'HOWDAH_ON_FULL_INVALID';
      message := format('on_full %s is not valid', left((p_job -> 'on_full')::text, 60));
      hint := 'use "refuse" or "drop_oldest"';
    when 'HW050' then
      code := 'HOWDAH_GROUP_INVALID';
      message := format('group %s is not valid', left((p_job -> 'group')::text, 60));
      hint := 'use text of 1 to 255 characters';
    when 'HW060' then
      code := 'HOWDAH_WEIGHT_INVALID';
      select least(1000, concurrency_max, rate_max) into v_max from queues
      where name = p_job ->> 'queue' and deleted_at is null;
      message := format('weight %s is not valid', left(p_job ->> 'weight', 40));
      hint := format('use a whole number from 1 to %s, the most that this queue lets through', v_max);
    when 'HW200' then
      code := 'HOWDAH_BATCH_UNKNOWN';
      message := format('batch %s does not exist', left(p_job ->> 'batch', 40));
      hint := 'open it with open_batch(); batches are forgotten 7 days after they have ended';
    when 'HW201' then
      code := 'HOWDAH_BATCH_CLOSED';
      message := format('batch %s is closed: nothing can be added to it', left(p_job ->> 'batch', 40));
      hint := 'add all jobs before you close it, or open another batch';
    else
      code := 'HOWDAH_JOB_INVALID';
      message := case when jsonb_typeof(p_job) = 'object'
        then 'a job has more than 8 numbers beyond 1e22 among its options'
        else format('a job must be a JSON object, not %s', jsonb_typeof(p_job)) end;
      hint := 'for example {"queue": "email", "payload": {"to": "a@b.c"}}';
  end case;
end $$;

-- The job with one header more, which the database writes: beside the others where those are encoded. It is
-- inlined: thousands of jobs of schedules are made at once.
create function {{schema}}.with_header(p_job jsonb, p_name text, p_value jsonb) returns jsonb
language sql stable as $$
  select p_job || jsonb_build_object('headers',
    coalesce(nullif(p_job -> 'headers', 'null'), '{}') || jsonb_build_object(p_name, p_value))
$$;

-- Whether it says more than its queue and its payload, as few jobs do. It is inlined: it is asked of each.
create function {{schema}}.has_options(p_job jsonb) returns boolean
language sql immutable as $$
  select p_job ?| '{priority,delay_ms,run_at,ttl_ms,max_attempts,headers,dedupe,on_full,group,weight,batch}'
$$;

-- Plain jobs of one queue, as most calls, bulk loads and gathered calls bring: nothing of what enqueue_each() decides
-- for each job needs to be asked. p_jobs: a job or an array of jobs; with p_payloads, which are JSON, what is said of
-- them all. p_bytes: the length of their JSON text where that is known. No number in them is wide. Returns their ids in
-- order; null, and nothing is done, where one is not plain.
create function {{schema}}.enqueue_plain(
  p_jobs jsonb, p_payloads text[], p_now timestamptz, p_ring boolean, p_bytes integer default null
) returns bigint[]
language plpgsql security definer {{settings}} as $$
declare
  v_first jsonb := case when jsonb_typeof(p_jobs) = 'array' then p_jobs -> 0 else p_jobs end;
  v_queue text := v_first ->> 'queue';
  v_queue_id integer;
  v_bytes_max integer;
  v_may_be_long boolean;
  v_is_bad boolean;
  v_id bigint;
  v_ids bigint[];
begin
  if has_options(v_first) then
    return null;
  end if;
  select id, payload_bytes_max into v_queue_id, v_bytes_max from queues
  where name = v_queue and deleted_at is null and delay_ms = 0 and ttl_ms is null
    and not is_guarded;
  if not found then
    return null;
  end if;
  -- jsonb writes a text out in no more than four times its length: [1e9,1e9]
  v_may_be_long := p_bytes is null or p_bytes > v_bytes_max / 4;
  if p_payloads is not null then
    -- each is parsed where it is stored: as one array they would be taken apart and put together once more
    with inserted as (
      insert into jobs (id, seq, enqueued_at, queue_id, lane, payload)
      select n.id, n.id, p_now, v_queue_id, 201, n.payload
      from (select nextval('job_seq') as id, u::jsonb as payload from unnest(p_payloads) u offset 0) n
      returning id, v_may_be_long and is_too_long(payload, v_bytes_max, false) or is_too_deep(payload) as is_bad
    )
    select array_agg(id), bool_or(is_bad) into v_ids, v_is_bad from inserted;
    if v_ids is null then
      return null;
    end if;
    if v_is_bad then
      delete from jobs where id = any (v_ids);
      return null;
    end if;
  elsif jsonb_typeof(p_jobs) = 'object' or jsonb_array_length(p_jobs) = 1 then
    -- the statement below takes longer to begin than this to end
    if (v_may_be_long and is_too_long(v_first -> 'payload', v_bytes_max, false) or is_too_deep(v_first -> 'payload'))
      is distinct from false then
      return null;
    end if;
    v_id := nextval('job_seq');
    insert into jobs (id, seq, enqueued_at, queue_id, lane, payload)
    values (v_id, v_id, p_now, v_queue_id, 201, v_first -> 'payload');
    v_ids := array[v_id];
  else
    if not (
      select bool_and(coalesce(e.j ->> 'queue' = v_queue and not has_options(e.j)
        and not (v_may_be_long and is_too_long(e.j -> 'payload', v_bytes_max, false))
        and not is_too_deep(e.j -> 'payload'), false))
      from jsonb_array_elements(p_jobs) e (j)
    ) then
      return null;
    end if;
    with inserted as (
      insert into jobs (id, seq, enqueued_at, queue_id, lane, payload)
      select n.id, n.id, p_now, v_queue_id, 201, n.payload from (
        select nextval('job_seq') as id, e.j -> 'payload' as payload
        from jsonb_array_elements(p_jobs) e (j) offset 0
      ) n
      returning id
    )
    select array_agg(id) into v_ids from inserted;
  end if;
  insert into counter_deltas (queue_id, enqueued, ready)
  values (v_queue_id, cardinality(v_ids), cardinality(v_ids));
  if p_ring and exists (select from sleepers s where s.queue_id = v_queue_id) then
    perform ring_queue(v_queue_id, cardinality(v_ids), 0);
  end if;
  return v_ids;
end $$;

-- What enqueue() does with jobs that are not plain, and its answer.
-- Jobs with a dedupe key, or of a queue that is bounded or closed, take a second round: the first only
-- draws their ids, so that order holds, and pass_gate() decides which of them are inserted.
create function {{schema}}.enqueue_each(
  p_jobs jsonb, p_now timestamptz, p_on_error text, p_ring boolean, p_may_be_wide boolean
) returns table (
  ordinal integer, id bigint, created boolean, error_code text, error_message text, error_hint text,
  same boolean, details jsonb
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_payloads jsonb;  -- of that form of p_jobs
  v_row_ids bigint[];
  v_ids bigint[];  -- of the second round
  v_problems text[];
  v_queue_ids integer[];
  v_ready integer[];
  v_soonest timestamptz;
  v_joined groups[];
  v_batches bigint[];
  v_bad integer;
  v_jobs jsonb;
  v_is_gated boolean := false;
  v_admitted record;
  v_after_ids bigint[];
  v_all_joined groups[] := '{}';
begin
  v_payloads := case jsonb_typeof(p_jobs) when 'object' then p_jobs -> 'payloads' end;
  if v_payloads is not null and jsonb_typeof(v_payloads) <> 'array' then
    raise exception 'payloads must be a JSON array, not %', jsonb_typeof(v_payloads)
      using errcode = 'HW018', hint = 'for example {"queue": "email", "payloads": [1, 2, 3]}';
  elsif v_payloads is null and jsonb_typeof(p_jobs) = 'object' then
    p_jobs := jsonb_build_array(p_jobs);
  elsif v_payloads is null and jsonb_typeof(p_jobs) is distinct from 'array' then
    raise exception 'jobs must be a JSON object or array, not %',
      coalesce(jsonb_typeof(p_jobs), 'null') using errcode = 'HW018',
      hint = 'for example {"queue": "email", "payload": {"to": "a@b.c"}}';
  end if;

  if v_payloads is not null then
    p_jobs := (select coalesce(jsonb_agg(p_jobs - 'payloads' || jsonb_build_object('payload', e)), '[]')
      from jsonb_array_elements(v_payloads) e);
  end if;

  if p_may_be_wide and exists (
    select from jsonb_array_elements(p_jobs) e where has_wide_options(e)
  ) then
    raise exception 'a job has more than 8 numbers beyond 1e22 among its options' using errcode = 'HW018',
      hint = 'for example {"queue": "email", "payload": {"to": "a@b.c"}}';
  end if;

  v_jobs := p_jobs;
  while v_row_ids is null or v_is_gated loop
    with timed as materialized (
      select e.n, e.j, q.id as queue_id, q.ttl_ms, p.problem,
        e.j ->> 'group' as group_key,
        case when p.problem is null then (e.j ->> 'batch')::bigint end as batch_id,
        case when v_ids is not null then v_ids[e.n]
          when p.problem is null or p.problem = 'gate' then nextval('job_seq') end as id,
        case when p.problem is null and (q.max_depth is not null or q.max_bytes is not null)
          then octet_length((e.j -> 'payload')::text) end as bytes,
        case when p.problem is null and (q.delay_ms > 0 or e.j ?| '{delay_ms,run_at}')
          then run_at_of(e.j, q.delay_ms, p_now) end as run_at,
        case when p.problem is null
          then (201 - 2 * coalesce((e.j ->> 'priority')::numeric::integer, 0))::smallint end as lane
      from jsonb_array_elements(v_jobs) with ordinality e (j, n)
      left join queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
      cross join lateral (
        -- most jobs have a small payload and no options: one look tells
        select case when q.id is null or q.is_guarded
          or has_options(e.j)
          or p_may_be_wide
          or (is_too_long(e.j -> 'payload', q.payload_bytes_max, false) or is_too_deep(e.j -> 'payload'))
            is distinct from false
        then coalesce(job_problem(e.j, q.id, q.payload_bytes_max, p_may_be_wide), case when v_ids is null
          and (q.is_guarded or jsonb_typeof(e.j -> 'dedupe') = 'object') then 'gate' end)
        end as problem offset 0
      ) p
    ), inserted as (
      insert into jobs (id, seq, run_at, enqueued_at, expires_at, queue_id, max_attempts, lane,
        payload, headers, bytes, after_id, group_key, group_seq,
        weight, batch_id)
      select t.id, case when t.run_at > p_now or t.group_key is not null then null else t.id end,
        case when t.run_at > p_now then t.run_at end, p_now,
        case when t.ttl_ms is not null or t.j ? 'ttl_ms' then greatest(t.run_at, p_now)
          + coalesce((t.j ->> 'ttl_ms')::float8, t.ttl_ms) * interval '1 millisecond' end,
        t.queue_id, (t.j ->> 'max_attempts')::numeric::smallint, t.lane, t.j -> 'payload',
        nullif(t.j -> 'headers', 'null'), t.bytes,
        case when v_after_ids is not null then v_after_ids[t.n] end, t.group_key,
        -- a member of a group waits until change_groups() below has admitted it
        case when t.group_key is not null then t.id end,
        nullif((t.j ->> 'weight')::numeric::smallint, 1), t.batch_id
      from timed t where t.problem is null
    ), per_queue as (
      select queue_id, count(*) filter (where run_at > p_now and group_key is null) as scheduled,
        count(group_key) as blocked, count(*) as n, sum(bytes) as bytes
      from timed where problem is null group by queue_id
    ), counted as (
      insert into counter_deltas (queue_id, enqueued, scheduled, blocked, ready, bytes)
      select queue_id, n, scheduled, blocked, n - scheduled - blocked, bytes from per_queue
    )
    select t.ids, t.problems, t.soonest, t.joined, t.batches, p.queue_ids, p.ready
    into v_row_ids, v_problems, v_soonest, v_joined, v_batches, v_queue_ids, v_ready
    from (
      select array_agg(t.id order by n) as ids,
        case when count(problem) > 0 then array_agg(problem order by n) end as problems,
        min(run_at) filter (where run_at > p_now and group_key is null) as soonest,
        array_agg((queue_id, group_key, 0, 1, t.id - 1, null, null)::groups)
          filter (where group_key is not null and problem is null) as joined,
        array_agg(batch_id) filter (where batch_id is not null) as batches
      from timed t
    ) t, (
      select array_agg(queue_id) as queue_ids, array_agg(n - scheduled - blocked) as ready from per_queue
    ) p;

    -- in the second round only a queue that was deleted meanwhile is a problem
    if v_problems is not null and (v_ids is not null or p_on_error is distinct from 'report') then
      v_bad := (select min(i) from unnest(v_problems) with ordinality u (p, i)
        where p <> 'gate');
      if v_bad is not null then declare
        v_text record := describe_problem(v_problems[v_bad], v_jobs -> (v_bad - 1));
      begin
        raise exception '%', v_text.message || case when jsonb_array_length(p_jobs) > 1
          then format(' (job %s of %s)', v_bad, jsonb_array_length(p_jobs)) else '' end
          using errcode = v_problems[v_bad], hint = v_text.hint;
      end; end if;
    end if;

    if v_batches is not null then
      perform note_added(v_batches);
    end if;
    -- the first round's too only at the end, for groups come after dedupe keys
    v_all_joined := v_all_joined || v_joined;
    if p_ring then
      -- one look tells whether anybody sleeps at all on these queues
      perform ring_queue(u.q, u.n, 0) from unnest(v_queue_ids, v_ready) u (q, n)
      where u.n > 0 and exists (select from sleepers s where s.queue_id = u.q);
      if v_soonest is not null then
        perform ring_promoter(v_soonest);
      end if;
    end if;

    exit when v_is_gated or 'gate' = any (v_problems) is not true;
    v_is_gated := true;
    v_admitted := pass_gate(p_jobs, v_row_ids, v_problems, p_now, p_on_error, p_ring);
    v_all_joined := v_all_joined || v_admitted.held;
    exit when v_admitted.jobs = '[]';
    v_jobs := v_admitted.jobs;
    v_ids := v_admitted.ids;
    v_after_ids := v_admitted.after_ids;
  end loop;
  if v_all_joined <> '{}' then
    perform change_groups(v_all_joined, p_ring, true);
  end if;
  if v_is_gated then
    if v_admitted.left_groups <> '{}' then
      perform change_groups(v_admitted.left_groups, p_ring);
    end if;
  end if;

  if v_is_gated then
    return query select u.n::integer, u.id, u.created, d.code, d.message, d.hint, u.same, u.details
      from unnest(v_admitted.answer_ids, v_admitted.created, v_admitted.problems, v_admitted.same,
        v_admitted.details) with ordinality u (id, created, problem, same, details, n)
      left join lateral describe_problem(u.problem, p_jobs -> (u.n - 1)::integer, u.details) d
        on u.problem is not null;
  elsif v_problems is null then
    return query select u.n::integer, u.id, true, null::text, null::text, null::text, null::boolean,
        null::jsonb
      from unnest(v_row_ids) with ordinality u (id, n);
  else
    return query select u.n::integer, u.id, u.id is not null, d.code, d.message, d.hint, null::boolean,
        null::jsonb
      from unnest(v_row_ids, v_problems) with ordinality u (id, problem, n)
      left join lateral describe_problem(u.problem, p_jobs -> (u.n - 1)::integer) d
        on u.problem is not null;
  end if;
end $$;

-- p_jobs: a job, an array of jobs, or many jobs of one queue with the same options, {"queue", "payloads"}.
-- p_on_error 'raise': the first bad job fails the statement, nothing is enqueued. 'report': good jobs
-- are enqueued, bad ones come back with a code. p_ring false: do not notify (two-phase commit refuses
-- NOTIFY); the caller rings after its commit. A row a job, in the order given.
create function {{schema}}.enqueue(
  p_jobs jsonb, p_on_error text default 'raise', p_ring boolean default true
) returns table (
  ordinal integer, id bigint, created boolean, error_code text, error_message text, error_hint text,
  same boolean, details jsonb
)
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  -- as is_wide(), but a zero is looked at closer: most have no decimals, and are no reason to leave the quick way
  v_wide jsonb := case when pg_column_size(p_jobs) > 262 then jsonb_path_query_array(p_jobs,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))') end;
  v_is_wide boolean := case when v_wide is null then is_wide(p_jobs) else v_wide <> '[]' and exists (
    select from jsonb_array_elements(v_wide) e where abs(e::numeric) > 1 or scale(e::numeric) > 22) end;
  v_payloads text[] := case when jsonb_typeof(p_jobs -> 'payloads') = 'array' and not v_is_wide
    then array(select e::text from jsonb_array_elements(p_jobs -> 'payloads') e) end;
  v_ids bigint[];
begin
  if not v_is_wide and (v_payloads is not null or not p_jobs ? 'payloads') then
    v_ids := enqueue_plain(p_jobs, v_payloads, v_now, p_ring);
  end if;
  if v_ids is null then
    return query select * from enqueue_each(p_jobs, v_now, p_on_error, p_ring, v_is_wide);
  else
    return query select u.n::integer, u.id, true, null::text, null::text, null::text, null::boolean,
        null::jsonb
      from unnest(v_ids) with ordinality u (id, n);
  end if;
end $$;

-- The hot path: what enqueue() does, in one text and with an answer in one text. p_jobs: its JSON or, many payloads of
-- one queue, {"queue"} with options and after it each payload, all with RS (U+001E) between, which no JSON has: that is
-- read fastest. The answer: where every job is new, their ids with commas between; else an
-- object: "ids" (nothing for a refused job), "refused" ([ordinal, code, message, hint, details] each) and
-- "duplicates" ([ordinal, same] each). Neither sorts nor builds a row a job for plain jobs.
create function {{schema}}.enqueue_many(p_jobs text, p_on_error text default 'raise') returns text
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_jobs jsonb;
  v_parts text[];
  v_payloads text[];
  v_is_wide boolean := has_exponent(p_jobs);
  v_ids bigint[];
begin
  if strpos(p_jobs, E'\x1e') > 0 then
    v_parts := string_to_array(p_jobs, E'\x1e');
    v_jobs := v_parts[1];
    v_payloads := v_parts[2:];
  else
    v_jobs := p_jobs;
  end if;
  if not v_is_wide then
    v_ids := enqueue_plain(v_jobs, v_payloads, v_now, true, octet_length(p_jobs));
  end if;
  if v_ids is not null then
    return array_to_string(v_ids, ',');
  end if;
  if v_payloads is not null then
    v_jobs := v_jobs || jsonb_build_object('payloads',
      (select jsonb_agg(u.p::jsonb order by u.n) from unnest(v_payloads) with ordinality u (p, n)));
  end if;
  return (
    select case when refused is null and duplicates is null then ids
      else jsonb_build_object('ids', ids, 'refused', refused, 'duplicates', duplicates)::text end
    from (
      select string_agg(coalesce(id::text, ''), ',' order by ordinal) as ids,
        jsonb_agg(jsonb_build_array(ordinal, error_code, error_message, error_hint, details))
          filter (where error_code is not null) as refused,
        jsonb_agg(jsonb_build_array(ordinal, same)) filter (where same is not null) as duplicates
      from enqueue_each(v_jobs, v_now, p_on_error, true, v_is_wide)
    ) answer
  );
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.enqueue_many(text, text);
drop function {{schema}}.enqueue(jsonb, text, boolean);
drop function {{schema}}.enqueue_each(jsonb, timestamptz, text, boolean, boolean);
drop function {{schema}}.enqueue_plain(jsonb, text[], timestamptz, boolean, integer);
drop function {{schema}}.has_options(jsonb);
drop function {{schema}}.with_header(jsonb, text, jsonb);
drop function {{schema}}.describe_problem(text, jsonb, jsonb);
drop function {{schema}}.job_problem(jsonb, integer, integer, boolean);
drop function {{schema}}.number_problem(jsonb, integer);
drop function {{schema}}.has_wide_options(jsonb);
drop function {{schema}}.batch_problem(jsonb);
drop function {{schema}}.is_bad_dedupe(jsonb);
drop function {{schema}}.is_too_deep(jsonb);
drop function {{schema}}.is_too_long(jsonb, integer, boolean);
drop function {{schema}}.number_flaw(jsonb, integer);
drop function {{schema}}.is_wide(jsonb, boolean);
drop function {{schema}}.has_exponent(text);
drop function {{schema}}.text_bytes(jsonb);
drop function {{schema}}.is_weight_wrong(jsonb, integer);
drop function {{schema}}.is_out_of_range(jsonb, numeric, numeric);
drop function {{schema}}.run_at_of(jsonb, bigint, timestamptz);
drop function {{schema}}.parse_time(text);
