-- Control of jobs: cancel, run now, edit; by id or by filter.

-- Up Migration

-- Control: what people do to jobs and queues from outside.



-- Cancels waiting jobs at once; a running one gets a request, of which its worker is told, unless
-- p_with_running is false. why: of those that were not cancelled at once. Those that are not there come last, for
-- the history is asked for all of them at once.
create function {{schema}}.cancel(
  p_ids bigint[], p_reason text default null, p_with_running boolean default true
) returns table (id bigint, outcome text, why text)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_id bigint;
  v_job _jobs;
  v_left _groups[] := '{}';
  v_told bigint[] := '{}';
  v_gone bigint[] := '{}';
begin
  perform _lock_jobs(p_ids);
  for v_id in select distinct u from unnest(p_ids) u order by u loop
    id := v_id;
    select * into v_job from _jobs j where j.id = v_id for update;
    why := null;
    if not found then
      v_gone := v_gone || v_id;
      continue;
    elsif v_job.lease_id is null then
      perform _finish(v_job, 'cancelled', left(p_reason, 500));
      if v_job.group_key is not null then
        v_left := v_left || _left_group(v_job);
      end if;
      outcome := 'cancelled';
    elsif not p_with_running then
      outcome := 'running';
      why := 'it has begun meanwhile';
    else
      why := 'it runs: its worker has been told to stop';
      update _jobs set cancel_requested = true, cancel_reason = coalesce(left(p_reason, 500), cancel_reason)
      where _jobs.id = v_id;
      v_told := v_told || v_job.lease_id;
      perform _notify_lease(v_job.lease_id, 'c');
      outcome := 'requested';
    end if;
    return next;
  end loop;
  if v_left <> '{}' then
    perform _change_groups(v_left, true, true);
  end if;
  insert into _lease_notices (lease_id)
  select l.id from _leases l where l.id in (select distinct u from unnest(v_told) u);
  return query
    select u, case when h.id is null then 'unknown' else 'finished' end,
      coalesce('it is ' || h.state, 'no such job, or no longer in the history')
    from unnest(v_gone) u left join _history_of(v_gone) h on h.id = u;
end $$;

-- Which of these running jobs are to be cancelled. A worker asks when it is told to look.
create function {{schema}}.cancel_requests(p_lease_id bigint, p_ids bigint[]) returns setof bigint
language sql stable security definer {{settings}} as $$
  select id from _jobs where id = any (p_ids) and lease_id = p_lease_id and cancel_requested
$$;

-- Runs waiting jobs without further delay: a scheduled one becomes ready, a dead one is redriven, or
-- stays dead when the queue it came from was deleted. A blocked one keeps its place in its group; so is one
-- that waits for the job before it of its dedupe key. Those that are not there come last, as of cancel().
create function {{schema}}.run_now(p_ids bigint[]) returns table (id bigint, outcome text)
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
  v_job _jobs;
  v_joined _groups[] := '{}';
  v_gone bigint[] := '{}';
begin
  for v_id in select distinct u from unnest(p_ids) u order by u loop
    id := v_id;
    select * into v_job from _jobs j where j.id = v_id and j.group_seq is null for update;
    if not found then
      if not exists (select from _jobs j where j.id = v_id) then
        v_gone := v_gone || v_id;
        continue;
      end if;
      outcome := 'blocked';
    elsif v_job.lease_id is not null then
      outcome := 'running';
    elsif v_job.seq is null and _is_pending(v_job.after_id) then
      outcome := 'blocked';
    else
      outcome := 'ready';
      if v_job.dead_at is null then
        perform _put_back(v_job, null, false) where v_job.seq is null;
      elsif exists (select from _queues where _queues.id = v_job.origin_queue_id and deleted_at is null) then
        v_joined := v_joined || _redrive_one(v_job, v_job.origin_queue_id);
      else
        outcome := 'dead';
      end if;
    end if;
    return next;
  end loop;
  if v_joined <> '{}' then
    perform _change_groups(v_joined, true, true);
  end if;
  return query
    select u, case when h.id is null then 'unknown' else 'finished' end
    from unnest(v_gone) u left join _history_of(v_gone) h on h.id = u;
end $$;

-- Unfinished jobs that a filter fits, at most p_limit, in no order. Keys: queue, state (scheduled, blocked,
-- ready or running, or an array of these), group, since and until (of the enqueue), older_than_ms, payload
-- (contains). Dead ones are none of them, nor running ones that are to be cancelled already.
create function {{schema}}._find_unfinished(p_filter jsonb, p_limit integer)
returns table (id bigint, running boolean)
language plpgsql security definer {{settings}} {{plain}} as $$
#variable_conflict use_column
declare
  v_key text;
  v_states text[];
  v_low integer := 0;  -- ids of queues: one, or all
  v_high integer := 2147483647;
  v_since timestamptz;
  v_until timestamptz;
begin
  p_filter := coalesce(p_filter, '{}');
  if jsonb_typeof(p_filter) <> 'object' then
    raise exception 'the filter must be a JSON object, not %', jsonb_typeof(p_filter)
      using errcode = 'HW030', hint = 'for example {"queue": "email", "state": "ready"}';
  end if;
  select k into v_key from jsonb_object_keys(p_filter) k
  where k not in ('queue', 'state', 'group', 'since', 'until', 'older_than_ms', 'payload') limit 1;
  if found then
    raise exception 'unknown filter key %', quote_literal(v_key) using errcode = 'HW030',
      hint = 'use queue, state, group, since, until, older_than_ms, payload';
  end if;
  v_states := array(select jsonb_array_elements_text(case coalesce(jsonb_typeof(p_filter -> 'state'), 'null')
    when 'null' then '["scheduled", "blocked", "ready", "running"]'
    when 'array' then p_filter -> 'state' else jsonb_build_array(p_filter -> 'state') end));
  if v_states = '{}' or (v_states <@ '{scheduled,blocked,ready,running}') is not true then
    raise exception 'state % is not valid', p_filter -> 'state' using errcode = 'HW030',
      hint = 'use scheduled, blocked, ready, running; dead jobs are discarded, finished ones stay';
  end if;
  begin
    v_since := (p_filter ->> 'since')::timestamptz;
    v_until := least((p_filter ->> 'until')::timestamptz,
      clock() - (p_filter ->> 'older_than_ms')::float8 * interval '1 millisecond');
  exception when others then
    raise exception 'filter % is not valid: %', left(p_filter::text, 500), sqlerrm
      using errcode = 'HW030', hint = 'since and until are times, older_than_ms is milliseconds';
  end;
  if p_filter ? 'queue' then
    v_low := _queue_id_of(p_filter ->> 'queue');
    v_high := v_low;
  end if;
  return query
    select j.id, j.lease_id is not null
    from (
      select * from _jobs where v_states && '{ready,running}' and queue_id between v_low and v_high
        and seq is not null
      union all
      select * from _jobs where 'scheduled' = any (v_states) and queue_id between v_low and v_high
        and seq is null and run_at is not null and group_seq is null
      union all
      select * from _jobs where 'blocked' = any (v_states) and queue_id between v_low and v_high
        and group_seq is not null
    ) j
    where j.dead_at is null
      and case when j.lease_id is not null then 'running' = any (v_states) and not j.cancel_requested
        else j.seq is null or 'ready' = any (v_states) end
      and (not p_filter ? 'group' or j.group_key = p_filter ->> 'group')
      and (v_since is null or j.enqueued_at >= v_since)
      and (v_until is null or j.enqueued_at < v_until)
      and (not p_filter ? 'payload' or j.payload @> (p_filter -> 'payload'))
    limit least(greatest(p_limit, 0), 100000);
end $$;

-- Cancels the jobs that a filter fits, at most p_limit: call it again while it says more. refused: an
-- array of {"id", "outcome", "why"}, the first 100 that matched and could not be cancelled any more.
create function {{schema}}.cancel_jobs(
  p_filter jsonb, p_reason text default null, p_limit integer default 10000,
  p_preview boolean default false,
  out cancelled integer, out requested integer, out refused jsonb, out more boolean
)
language plpgsql security definer {{settings}} as $$
declare
  v_limit integer := least(greatest(p_limit, 0), 100000);
  v_ids bigint[];
  v_running integer;
begin
  select array_agg(f.id), count(*) filter (where f.running) into v_ids, v_running
  from _find_unfinished(p_filter, v_limit) f;
  more := v_limit > 0 and coalesce(cardinality(v_ids), 0) >= v_limit;
  if p_preview or v_ids is null then
    cancelled := coalesce(cardinality(v_ids), 0) - v_running;
    requested := v_running;
    refused := '[]';
    return;
  end if;
  select count(*) filter (where c.outcome = 'cancelled'), count(*) filter (where c.outcome = 'requested'),
    coalesce(jsonb_path_query_array(jsonb_agg(to_jsonb(c)) filter (
      where c.outcome not in ('cancelled', 'requested')), '$[0 to 99]'), '[]')
  into cancelled, requested, refused
  from cancel(v_ids, p_reason,
    coalesce(p_filter -> 'state' @> '"running"' or p_filter -> 'state' = 'null', true)) c;
end $$;

-- Changes a job that waits: any of payload, headers, priority, and run_at or delay_ms. Its weight stays, and a
-- blocked member of a group keeps its place; so does a ready one whose priority stays. Returns its state. Raises when the job runs
-- (HW181), has ended or is dead (HW182), is not there (HW180), or what is asked for is wrong.
create function {{schema}}.edit_job(p_id bigint, p_changes jsonb) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_job _jobs;
begin
  if jsonb_typeof(p_changes) is distinct from 'object' or p_changes = '{}' then
    raise exception 'the changes must be a JSON object with at least one key' using errcode = 'HW183',
      hint = 'for example {"delay_ms": 60000, "priority": 5}';
  end if;
  select k into v_key from jsonb_object_keys(p_changes) k
  where k not in ('payload', 'headers', 'priority', 'run_at', 'delay_ms') limit 1;
  if found or p_changes ?& '{run_at,delay_ms}' then
    raise exception 'a job cannot be changed by %', coalesce(quote_literal(v_key), 'run_at and delay_ms')
      using errcode = 'HW183', hint = 'use payload, headers, priority, and run_at or delay_ms';
  end if;
  perform 1 from _jobs where id = p_id and lease_id is null and group_seq is null for update skip locked;
  if not found and _is_wanted(p_id) then
    raise exception 'job % is about to begin', p_id using errcode = 'HW181',
      hint = 'it is due, a worker waits for it, and others change it all the time: enqueue another';
  end if;
  perform _lock_jobs(array[p_id]);
  select * into v_job from _jobs where id = p_id for update;
  if not found then
    v_key := (select state from _history_of(array[p_id]));
    raise exception 'job % %', coalesce(p_id::text, 'null'),
      coalesce('has ended: it is ' || v_key, 'is not there') using
      errcode = case when v_key is null then 'HW180' else 'HW182' end,
      hint = case when v_key is null then 'its id is wrong, or it is no longer in the history'
        else 'enqueue another' end;
  elsif v_job.dead_at is not null then
    raise exception 'job % is dead', p_id using errcode = 'HW182', hint = 'redrive it first';
  elsif v_job.lease_id is not null then
    raise exception 'job % runs', p_id using errcode = 'HW181',
      hint = 'cancel it, or wait for its end; edit it when it waits for its next attempt';
  end if;
  return _apply_edit(v_job, p_changes);
end $$;

-- The caller holds the row's lock, and that of its group where the job is blocked.
create function {{schema}}._apply_edit(p_job {{schema}}._jobs, p_changes jsonb) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_queue _queues := (select q from _queues q where q.id = p_job.queue_id);
  v_ask jsonb := jsonb_build_object('queue', v_queue.name, 'payload', p_job.payload) || p_changes;
  v_now timestamptz := clock();
  v_problem text := _job_problem(v_ask, v_queue.id,
    case when p_changes ? 'payload' then v_queue.payload_bytes_max end);
  v_text record;
  v_details jsonb;
  v_waiting record;
  v_bytes integer := case when p_job.bytes is not null and v_problem is null
    then octet_length((v_ask -> 'payload')::text) end;
  v_run_at timestamptz := case when p_changes ?| '{run_at,delay_ms}' and v_problem is null
    then greatest(_run_at_of(p_changes, 0, v_now), v_now) end;
  v_lane smallint := p_job.lane;
  v_seq bigint := p_job.seq;
  v_state text;
begin
  if v_problem is null and v_bytes > p_job.bytes and v_queue.max_bytes is not null then
    v_waiting := _waiting_in(v_queue.id);
    if v_waiting.bytes + v_bytes - p_job.bytes > v_queue.max_bytes then
      v_problem := 'HW040';
      v_details := _full_details(v_queue.id, v_waiting.depth, v_waiting.bytes, v_bytes - p_job.bytes, null,
        v_queue.max_bytes);
    end if;
  end if;
  if v_problem is not null then
    v_text := _describe_problem(v_problem, v_ask, v_details);
    raise exception '%', v_text.message
      using errcode = v_problem, hint = v_text.hint, detail = coalesce(v_details::text, '');
  end if;
  if (100 - p_job.lane / 2) <> (p_changes ->> 'priority')::numeric then
    v_lane := 201 - 2 * (p_changes ->> 'priority')::numeric::integer;
  end if;
  if p_job.group_seq is null then
    -- one that waits for another job of its dedupe key stays scheduled until that is over
    if v_run_at > v_now or p_job.seq is null and _is_pending(p_job.after_id) then
      v_seq := null;
    -- one that is due does not wait for promote(), which passes over what is locked all the time
    elsif v_seq is null and coalesce(v_run_at, p_job.run_at) <= v_now or v_seq is not null and v_lane <> p_job.lane then
      v_seq := nextval('job_seq');
    end if;
  end if;
  v_state := case when p_job.group_seq is not null then 'blocked' when v_seq is null then 'scheduled'
    else 'ready' end;
  update _jobs set payload = v_ask -> 'payload', bytes = v_bytes, lane = v_lane, seq = v_seq,
    headers = case when p_changes ? 'headers' then nullif(p_changes -> 'headers', 'null') else headers end,
    run_at = coalesce(v_run_at, run_at),
    -- the waiting TTL goes with the time
    expires_at = expires_at + coalesce(v_run_at - greatest(run_at, enqueued_at), interval '0')
  where id = p_job.id;
  if p_job.group_seq is null and (v_seq is null) <> (p_job.seq is null) or v_bytes <> p_job.bytes then
    insert into _counter_deltas (queue_id, ready, scheduled, bytes)
    select p_job.queue_id, n, -n, v_bytes - p_job.bytes
    from (select (v_seq is not null)::integer - (p_job.seq is not null)::integer as n) c;
  end if;
  if v_state = 'ready' then
    -- also one that was: a claim may have met it locked
    perform _ring_queue(p_job.queue_id, 1, 0);
  elsif v_state = 'scheduled' and v_run_at is not null then
    perform _ring_promoter(v_run_at);
  end if;
  return v_state;
end $$;

-- Down Migration

drop function {{schema}}._apply_edit({{schema}}._jobs, jsonb);
drop function {{schema}}.edit_job(bigint, jsonb);
drop function {{schema}}.cancel_jobs(jsonb, text, integer, boolean);
drop function {{schema}}._find_unfinished(jsonb, integer);
drop function {{schema}}.run_now(bigint[]);
drop function {{schema}}.cancel_requests(bigint, bigint[]);
drop function {{schema}}.cancel(bigint[], text, boolean);
