-- What is wrong with a job that is to be enqueued: a code, and then the words for it.

-- Up Migration

create function {{schema}}._run_at_of(p_job jsonb, p_delay_ms bigint, p_now timestamptz)
returns timestamptz
language sql stable as $$
  select case coalesce(jsonb_typeof(p_job -> 'run_at'), 'null')
    when 'number' then case when (p_job -> 'run_at')::numeric between 0 and 32503680000000
      then to_timestamp((round((p_job -> 'run_at')::numeric, 3) / 1000)::float8) end
    when 'string' then {{schema}}._parse_time(p_job ->> 'run_at')
    else p_now + coalesce(round((p_job ->> 'delay_ms')::numeric, 3)::float8, p_delay_ms) * interval '1 millisecond'
  end
$$;

-- Whether what is given as "dedupe" cannot be used; null is as good as nothing.
create function {{schema}}._is_bad_dedupe(p_dedupe jsonb) returns boolean
language sql immutable as $$
  select case jsonb_typeof(p_dedupe) when 'null' then false when 'object' then
      coalesce(jsonb_typeof(p_dedupe -> 'key'), '') <> 'string'
      or octet_length(p_dedupe ->> 'key') not between 1 and 1024
      or {{schema}}._is_out_of_range(p_dedupe -> 'window_ms', 1, 315360000000)
      or coalesce(p_dedupe ->> 'mode', 'skip') not in ('skip', 'replace', 'throttle', 'latest')
      or (p_dedupe - '{key,window_ms,mode}'::text[]) <> '{}'
    else true end
$$;

-- A job weighs 1 to 1000, and no more than what the limits of its queue let through at once.
create function {{schema}}._is_weight_wrong(p_job jsonb, p_queue_id integer) returns boolean
language sql stable as $$
  select {{schema}}._is_out_of_range(p_job -> 'weight', 1, 1000) or exists (
    select from {{schema}}._queues q where q.id = p_queue_id
      and (p_job ->> 'weight')::numeric > least(q.concurrency_max, q.rate_max))
$$;

-- Whether a job can be added to this batch, as a SQLSTATE: null where it can. The lock keeps the batch open
-- until the end of the transaction.
create function {{schema}}._batch_problem(p_batch jsonb) returns text
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
  perform 1 from _batches where id = v_id for key share;
  -- read again, for it may have been closed while its lock was waited for
  select closed_at is not null into v_is_closed from _batches where id = v_id;
  return case v_is_closed when false then null when true then 'HW201' else 'HW200' end;
end $$;

-- Whether what a job has besides payload and headers, which is written out by who looks at it, has more wide numbers than
-- there are options.
create function {{schema}}._has_wide_options(p_job jsonb) returns boolean
language sql immutable as $$
  select jsonb_array_length(jsonb_path_query_array(
    case jsonb_typeof(p_job) when 'object' then p_job - '{payload,headers}'::text[] else p_job end,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22 && @ != 0))')) > 8
$$;

-- What is wrong with a job because numbers in it are wide, as a SQLSTATE; null when nothing is.
create function {{schema}}._number_problem(p_job jsonb, p_payload_bytes_max integer) returns text
language sql stable as $$
  select case when {{schema}}._has_wide_options(p_job) then 'HW018' else coalesce(
    case {{schema}}._number_flaw(p_job -> 'payload', p_payload_bytes_max)
      when 'unfit' then 'HW010' when 'long' then 'HW011' end,
    case when {{schema}}._number_flaw(p_job -> 'headers', 16384) is not null then 'HW015' end) end
$$;

-- The SQLSTATE of the first thing wrong with a job, null when it is good. p_may_be_wide as in _is_too_long().
-- Volatile, as clock() is: only so can the planner inline it.
create function {{schema}}._job_problem(
  p_job jsonb, p_queue_id integer, p_payload_bytes_max integer, p_may_be_wide boolean default true
) returns text
language sql volatile as $$
  select coalesce(case when p_may_be_wide and {{schema}}._is_wide(p_job, true)
    then {{schema}}._number_problem(p_job, coalesce(p_payload_bytes_max, 1048576)) end, case
    when jsonb_typeof(p_job) <> 'object' then 'HW018'
    when p_queue_id is null then 'HW001'
    when not p_job ? 'payload' then 'HW010'
    when {{schema}}._is_too_long(p_job -> 'payload', p_payload_bytes_max, false) then 'HW011'
    when {{schema}}._is_too_deep(p_job -> 'payload') then 'HW010'
    when {{schema}}._is_out_of_range(p_job -> 'priority', -100, 100) then 'HW012'
    when case coalesce(jsonb_typeof(p_job -> 'delay_ms'), 'null') when 'null' then false
      when 'number' then (p_job -> 'delay_ms')::numeric not between 0 and 315360000000
      else true end then 'HW013'
    when coalesce(jsonb_typeof(p_job -> 'run_at'), 'null') <> 'null' and coalesce(
      {{schema}}._run_at_of(p_job, 0, '-infinity') not between '2000-01-01 00:00:00+00'
        and {{schema}}.clock() + interval '10 years', true) then 'HW014'
    when coalesce(jsonb_typeof(p_job -> 'headers'), 'null') not in ('null', 'object')
      or p_job ? 'headers' and (pg_column_size(p_job -> 'headers') > 16384
        or {{schema}}._is_too_long(p_job -> 'headers', 16384, false) or {{schema}}._is_too_deep(p_job -> 'headers'))
      then 'HW015'
    when {{schema}}._is_out_of_range(p_job -> 'max_attempts', 1, 1000) then 'HW016'
    when {{schema}}._is_out_of_range(p_job -> 'ttl_ms', 1, 315360000000) then 'HW017'
    when p_job ? 'dedupe' and {{schema}}._is_bad_dedupe(p_job -> 'dedupe') then 'HW042'
    when coalesce(p_job -> 'on_full', '"refuse"') not in ('"refuse"', '"drop_oldest"') then 'HW043'
    when coalesce(jsonb_typeof(p_job -> 'group'), 'null') <> 'null'
      and not (jsonb_typeof(p_job -> 'group') = 'string'
        and length(p_job ->> 'group') between 1 and 255) then 'HW050'
    when p_job ? 'weight' and {{schema}}._is_weight_wrong(p_job, p_queue_id) then 'HW060'
    when p_job ? 'batch' then {{schema}}._batch_problem(p_job -> 'batch')
  end)
$$;

-- The code, the message with the value, and the remedy, for one problem of one job.
create function {{schema}}._describe_problem(
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
      if _is_too_deep(p_job -> 'payload') then
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
      select payload_bytes_max into v_max from _queues
      where name = p_job ->> 'queue' and deleted_at is null;
      message := format('payload has %s bytes, queue %L allows %s',
        case when pg_column_size(p_job -> 'payload') <= greatest(65536, 2 * v_max::bigint)
          and not _is_wide(p_job -> 'payload', true) then _text_bytes(p_job -> 'payload')::text else 'too many' end, p_job ->> 'queue', v_max);
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
      select least(1000, concurrency_max, rate_max) into v_max from _queues
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

-- Whether it says more than its queue and its payload, as few jobs do. It is inlined: it is asked of each.
create function {{schema}}._has_options(p_job jsonb) returns boolean
language sql immutable as $$
  select p_job ?| '{priority,delay_ms,run_at,ttl_ms,max_attempts,headers,dedupe,on_full,group,weight,batch}'
$$;

-- Down Migration

drop function {{schema}}._has_options(jsonb);
drop function {{schema}}._describe_problem(text, jsonb, jsonb);
drop function {{schema}}._job_problem(jsonb, integer, integer, boolean);
drop function {{schema}}._number_problem(jsonb, integer);
drop function {{schema}}._has_wide_options(jsonb);
drop function {{schema}}._batch_problem(jsonb);
drop function {{schema}}._is_weight_wrong(jsonb, integer);
drop function {{schema}}._is_bad_dedupe(jsonb);
drop function {{schema}}._run_at_of(jsonb, bigint, timestamptz);
