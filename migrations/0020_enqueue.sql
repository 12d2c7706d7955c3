-- Enqueue: any number of jobs of any queues in one text parameter, callable from every driver:
--   select * from enqueue($1::text::jsonb)

-- Up Migration

-- Plain jobs of one queue, as most calls, bulk loads and gathered calls bring: nothing of what _enqueue_each() decides
-- for each job needs to be asked. p_jobs: a job or an array of jobs; with p_payloads, which are JSON, what is said of
-- them all. p_bytes: the length of their JSON text where that is known. No number in them is wide. Returns their ids in
-- order; null, and nothing is done, where one is not plain.
create function {{schema}}._enqueue_plain(
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
  if _has_options(v_first) then
    return null;
  end if;
  select id, payload_bytes_max into v_queue_id, v_bytes_max from _queues
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
      insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload)
      select n.id, n.id, p_now, v_queue_id, 201, n.payload
      from (select nextval('job_seq') as id, u::jsonb as payload from unnest(p_payloads) u offset 0) n
      returning id, v_may_be_long and _is_too_long(payload, v_bytes_max, false) or _is_too_deep(payload) as is_bad
    )
    select array_agg(id), bool_or(is_bad) into v_ids, v_is_bad from inserted;
    if v_ids is null then
      return null;
    end if;
    if v_is_bad then
      delete from _jobs where id = any (v_ids);
      return null;
    end if;
  elsif jsonb_typeof(p_jobs) = 'object' or jsonb_array_length(p_jobs) = 1 then
    -- the statement below takes longer to begin than this to end
    if (v_may_be_long and _is_too_long(v_first -> 'payload', v_bytes_max, false) or _is_too_deep(v_first -> 'payload'))
      is distinct from false then
      return null;
    end if;
    v_id := nextval('job_seq');
    insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload)
    values (v_id, v_id, p_now, v_queue_id, 201, v_first -> 'payload');
    v_ids := array[v_id];
  else
    if not (
      select bool_and(coalesce(e.j ->> 'queue' = v_queue and not _has_options(e.j)
        and not (v_may_be_long and _is_too_long(e.j -> 'payload', v_bytes_max, false))
        and not _is_too_deep(e.j -> 'payload'), false))
      from jsonb_array_elements(p_jobs) e (j)
    ) then
      return null;
    end if;
    with inserted as (
      insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload)
      select n.id, n.id, p_now, v_queue_id, 201, n.payload from (
        select nextval('job_seq') as id, e.j -> 'payload' as payload
        from jsonb_array_elements(p_jobs) e (j) offset 0
      ) n
      returning id
    )
    select array_agg(id) into v_ids from inserted;
  end if;
  insert into _counter_deltas (queue_id, enqueued, ready)
  values (v_queue_id, cardinality(v_ids), cardinality(v_ids));
  if p_ring and exists (select from _sleepers s where s.queue_id = v_queue_id) then
    perform _ring_queue(v_queue_id, cardinality(v_ids), 0);
  end if;
  return v_ids;
end $$;

-- What enqueue() does with jobs that are not plain, and its answer.
-- Jobs with a dedupe key, or of a queue that is bounded or closed, take a second round: the first only
-- draws their ids, so that order holds, and _pass_gate() decides which of them are inserted.
create function {{schema}}._enqueue_each(
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
  v_joined _groups[];
  v_batches bigint[];
  v_bad integer;
  v_jobs jsonb;
  v_is_gated boolean := false;
  v_admitted record;
  v_after_ids bigint[];
  v_all_joined _groups[] := '{}';
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
    select from jsonb_array_elements(p_jobs) e where _has_wide_options(e)
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
          then _run_at_of(e.j, q.delay_ms, p_now) end as run_at,
        case when p.problem is null
          then (201 - 2 * coalesce((e.j ->> 'priority')::numeric::integer, 0))::smallint end as lane
      from jsonb_array_elements(v_jobs) with ordinality e (j, n)
      left join _queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
      cross join lateral (
        -- most jobs have a small payload and no options: one look tells
        select case when q.id is null or q.is_guarded
          or _has_options(e.j)
          or p_may_be_wide
          or (_is_too_long(e.j -> 'payload', q.payload_bytes_max, false) or _is_too_deep(e.j -> 'payload'))
            is distinct from false
        then coalesce(_job_problem(e.j, q.id, q.payload_bytes_max, p_may_be_wide), case when v_ids is null
          and (q.is_guarded or jsonb_typeof(e.j -> 'dedupe') = 'object') then 'gate' end)
        end as problem offset 0
      ) p
    ), inserted as (
      insert into _jobs (id, seq, run_at, enqueued_at, expires_at, queue_id, max_attempts, lane,
        payload, headers, bytes, after_id, group_key, group_seq,
        weight, batch_id)
      select t.id, case when t.run_at > p_now or t.group_key is not null then null else t.id end,
        case when t.run_at > p_now then t.run_at end, p_now,
        case when t.ttl_ms is not null or t.j ? 'ttl_ms' then greatest(t.run_at, p_now)
          + coalesce((t.j ->> 'ttl_ms')::float8, t.ttl_ms) * interval '1 millisecond' end,
        t.queue_id, (t.j ->> 'max_attempts')::numeric::smallint, t.lane, t.j -> 'payload',
        nullif(t.j -> 'headers', 'null'), t.bytes,
        case when v_after_ids is not null then v_after_ids[t.n] end, t.group_key,
        -- a member of a group waits until _change_groups() below has admitted it
        case when t.group_key is not null then t.id end,
        nullif((t.j ->> 'weight')::numeric::smallint, 1), t.batch_id
      from timed t where t.problem is null
    ), per_queue as (
      select queue_id, count(*) filter (where run_at > p_now and group_key is null) as scheduled,
        count(group_key) as blocked, count(*) as n, sum(bytes) as bytes
      from timed where problem is null group by queue_id
    ), counted as (
      insert into _counter_deltas (queue_id, enqueued, scheduled, blocked, ready, bytes)
      select queue_id, n, scheduled, blocked, n - scheduled - blocked, bytes from per_queue
    )
    select t.ids, t.problems, t.soonest, t.joined, t.batches, p.queue_ids, p.ready
    into v_row_ids, v_problems, v_soonest, v_joined, v_batches, v_queue_ids, v_ready
    from (
      select array_agg(t.id order by n) as ids,
        case when count(problem) > 0 then array_agg(problem order by n) end as problems,
        min(run_at) filter (where run_at > p_now and group_key is null) as soonest,
        array_agg((queue_id, group_key, 0, 1, t.id - 1, null, null)::_groups)
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
        v_text record := _describe_problem(v_problems[v_bad], v_jobs -> (v_bad - 1));
      begin
        raise exception '%', v_text.message || case when jsonb_array_length(p_jobs) > 1
          then format(' (job %s of %s)', v_bad, jsonb_array_length(p_jobs)) else '' end
          using errcode = v_problems[v_bad], hint = v_text.hint;
      end; end if;
    end if;

    if v_batches is not null then
      perform _note_added(v_batches);
    end if;
    -- the first round's too only at the end, for groups come after dedupe keys
    v_all_joined := v_all_joined || v_joined;
    if p_ring then
      -- one look tells whether anybody sleeps at all on these queues
      perform _ring_queue(u.q, u.n, 0) from unnest(v_queue_ids, v_ready) u (q, n)
      where u.n > 0 and exists (select from _sleepers s where s.queue_id = u.q);
      if v_soonest is not null then
        perform _ring_promoter(v_soonest);
      end if;
    end if;

    exit when v_is_gated or 'gate' = any (v_problems) is not true;
    v_is_gated := true;
    v_admitted := _pass_gate(p_jobs, v_row_ids, v_problems, p_now, p_on_error, p_ring);
    v_all_joined := v_all_joined || v_admitted.held;
    exit when v_admitted.jobs = '[]';
    v_jobs := v_admitted.jobs;
    v_ids := v_admitted.ids;
    v_after_ids := v_admitted.after_ids;
  end loop;
  if v_all_joined <> '{}' then
    perform _change_groups(v_all_joined, p_ring, true);
  end if;
  if v_is_gated then
    if v_admitted.left_groups <> '{}' then
      perform _change_groups(v_admitted.left_groups, p_ring);
    end if;
  end if;

  if v_is_gated then
    return query select u.n::integer, u.id, u.created, d.code, d.message, d.hint, u.same, u.details
      from unnest(v_admitted.answer_ids, v_admitted.created, v_admitted.problems, v_admitted.same,
        v_admitted.details) with ordinality u (id, created, problem, same, details, n)
      left join lateral _describe_problem(u.problem, p_jobs -> (u.n - 1)::integer, u.details) d
        on u.problem is not null;
  elsif v_problems is null then
    return query select u.n::integer, u.id, true, null::text, null::text, null::text, null::boolean,
        null::jsonb
      from unnest(v_row_ids) with ordinality u (id, n);
  else
    return query select u.n::integer, u.id, u.id is not null, d.code, d.message, d.hint, null::boolean,
        null::jsonb
      from unnest(v_row_ids, v_problems) with ordinality u (id, problem, n)
      left join lateral _describe_problem(u.problem, p_jobs -> (u.n - 1)::integer) d
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
  -- as _is_wide(), but a zero is looked at closer: most have no decimals, and are no reason to leave the quick way
  v_wide jsonb := case when pg_column_size(p_jobs) > 262 then jsonb_path_query_array(p_jobs,
    'strict $.** ? (@ > 1e22 || @ < 1e-22 && (@ < -1e22 || @ > -1e-22))') end;
  v_is_wide boolean := case when v_wide is null then _is_wide(p_jobs) else v_wide <> '[]' and exists (
    select from jsonb_array_elements(v_wide) e where abs(e::numeric) > 1 or scale(e::numeric) > 22) end;
  v_payloads text[] := case when jsonb_typeof(p_jobs -> 'payloads') = 'array' and not v_is_wide
    then array(select e::text from jsonb_array_elements(p_jobs -> 'payloads') e) end;
  v_ids bigint[];
begin
  if not v_is_wide and (v_payloads is not null or not p_jobs ? 'payloads') then
    v_ids := _enqueue_plain(p_jobs, v_payloads, v_now, p_ring);
  end if;
  if v_ids is null then
    return query select * from _enqueue_each(p_jobs, v_now, p_on_error, p_ring, v_is_wide);
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
    v_ids := _enqueue_plain(v_jobs, v_payloads, v_now, true, octet_length(p_jobs));
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
      from _enqueue_each(v_jobs, v_now, p_on_error, true, v_is_wide)
    ) answer
  );
end $$;

-- Down Migration

drop function {{schema}}.enqueue_many(text, text);
drop function {{schema}}.enqueue(jsonb, text, boolean);
drop function {{schema}}._enqueue_each(jsonb, timestamptz, text, boolean, boolean);
drop function {{schema}}._enqueue_plain(jsonb, text[], timestamptz, boolean, integer);
