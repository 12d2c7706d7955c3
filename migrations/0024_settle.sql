-- Settle: end an attempt. Every settle names (job id, lease, attempt); a row that no longer matches is
-- left alone and reported as stale, so a worker that lost its lease changes nothing.

-- Up Migration

-- One job, locked by the caller and still under its lease, to its next state, which is returned. What
-- it has left, if anything, is for the caller to add up and give to _change_groups() once, at its end.
create function {{schema}}._settle_one(
  p_job {{schema}}._jobs, p_ask jsonb, out outcome text, out run_at timestamptz,
  out left_group {{schema}}._groups
)
language plpgsql security definer {{settings}} as $$
declare
  v_queue _queues;
  v_delay_ms double precision := case when jsonb_typeof(p_ask -> 'delay_ms') = 'number'
    then round(least(greatest((p_ask ->> 'delay_ms')::numeric, 0), 315360000000), 3) end;
begin
  if p_job.cancel_requested and p_ask ->> 'outcome' in ('fail', 'snooze', 'release', 'rate_limited') then
    -- its worker ended the attempt before it heard of the request: there is no other attempt
    if p_ask ->> 'outcome' = 'fail' then
      p_job.errors := _add_error(p_job, p_ask -> 'error');
    end if;
    perform _finish(p_job, 'cancelled', coalesce(p_job.cancel_reason, 'cancelled while running'));
    outcome := 'cancelled';
    left_group := _left_group(p_job);
    return;
  end if;
  select * into v_queue from _queues where id = p_job.queue_id;
  if v_queue.breaker_failures is not null then
    perform _note_outcome(v_queue, p_ask ->> 'outcome');
  end if;
  case p_ask ->> 'outcome'
    when 'complete' then
      perform _finish(p_job, 'completed', null, p_ask -> 'result');
      outcome := 'completed';
    when 'fail' then
      p_job.errors := _add_error(p_job, p_ask -> 'error');
      if p_job.attempt - p_job.uncounted >= coalesce(p_job.max_attempts, v_queue.max_attempts) then
        perform _bury(p_job, 'attempts exhausted');
        outcome := 'dead';
      else
        v_delay_ms := coalesce(v_delay_ms, _backoff_ms(v_queue, p_job.attempt - p_job.uncounted));
        if v_delay_ms > 0 then
          run_at := clock() + v_delay_ms * interval '1 millisecond';
        end if;
        perform _put_back(p_job, run_at, false, true);
        outcome := case when run_at is null then 'ready' else 'scheduled' end;
      end if;
    when 'snooze' then
      p_job.uncounted := p_job.uncounted + 1;
      run_at := clock() + coalesce(v_delay_ms, 0) * interval '1 millisecond';
      perform _put_back(p_job, run_at, false);
      outcome := 'scheduled';
    when 'release' then
      p_job.uncounted := p_job.uncounted + 1;
      outcome := 'ready';
      if p_job.follow_seq is not null then
        left_group := _return_follower(p_job);
        return;
      end if;
      perform _put_back(p_job, null, true);
    when 'rate_limited' then
      p_job.uncounted := p_job.uncounted + 1;
      perform _hold_queue(p_job.queue_id, coalesce(v_delay_ms, 1000), p_ask ->> 'reason');
      perform _put_back(p_job, null, true);
      outcome := 'ready';
    when 'dead_letter' then
      p_job.errors := _add_error(p_job, p_ask -> 'error');
      perform _bury(p_job, coalesce(left(p_ask ->> 'reason', 500), 'dead-lettered by its handler'));
      outcome := 'dead';
    when 'cancel' then
      perform _finish(p_job, 'cancelled', coalesce(p_job.cancel_reason, left(p_ask ->> 'reason', 500)));
      outcome := 'cancelled';
    when 'expire' then
      p_job.uncounted := p_job.uncounted + 1;
      perform _finish(p_job, 'expired', coalesce(left(p_ask ->> 'reason', 500), 'waiting TTL'));
      outcome := 'expired';
    else
      raise exception 'outcome % is not valid', coalesce(quote_literal(p_ask ->> 'outcome'), 'null')
        using errcode = 'HW022',
        hint = 'use complete, fail, snooze, release, rate_limited, dead_letter, cancel or expire';
  end case;
  if outcome not in ('ready', 'scheduled') then
    left_group := _left_group(p_job);
  elsif p_job.follow_seq is not null then
    left_group := _new_head(p_job);
  end if;
end $$;

-- What is said of a job that the asker does not hold: stale, unless the transaction in which it completed the
-- job ("xact", as completeIn() of a worker has noted it) was committed. Of one in the future, as after the loss of a primary,
-- nothing is known. A crash can lose that transaction and its number go to another, so the job must be gone
-- as well, and not by somebody who ended it after "xact_at", the time of the asker's completion in microseconds.
create function {{schema}}._lost_outcome(p_ask jsonb) returns text
language sql stable security definer {{settings}} as $$
  select case when p_ask ->> 'xact' ~ '^[0-9]{1,19}$' and case
    when (p_ask ->> 'xact')::xid8 < pg_snapshot_xmax(pg_current_snapshot())
    then pg_xact_status((p_ask ->> 'xact')::xid8) = 'committed'
      and not exists (select from _jobs where id = (p_ask ->> 'id')::bigint)
      and not exists (select from _history_of(array[(p_ask ->> 'id')::bigint])
        where p_ask ->> 'xact_at' ~ '^[0-9]{1,17}$'
        and finished_at > to_timestamp(0) + (p_ask ->> 'xact_at')::bigint * interval '1 microsecond')
  end then 'completed' else 'stale' end
$$;

-- Any outcomes, any queues: [{"id", "attempt", "outcome", "error", "result", "delay_ms", "reason", "xact",
-- "xact_at"}].
create function {{schema}}.settle(p_lease_id bigint, p_jobs jsonb)
returns table (id bigint, outcome text, run_at timestamptz)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_ask record;
  v_job _jobs;
  v_settled record;
  v_left _groups[] := '{}';
begin
  if jsonb_typeof(p_jobs) = 'object' then
    p_jobs := jsonb_build_array(p_jobs);
  end if;
  if jsonb_typeof(p_jobs) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_jobs) e
    where (e ->> 'id' ~ '^[0-9]{1,18}$' and coalesce(e ->> 'attempt', '0') ~ '^-?[0-9]{1,9}$') is not true
  ) then
    raise exception 'what to settle must be an array of objects with the id and attempt of a job'
      using errcode = 'HW022', hint = 'for example [{"id": 1, "attempt": 1, "outcome": "complete"}]';
  end if;
  for v_ask in
    select (e ->> 'id')::bigint as id, (e ->> 'attempt')::integer as attempt, e
    from jsonb_array_elements(p_jobs) e order by 1, 2
  loop
    select * into v_job from _jobs j
    where j.id = v_ask.id and j.lease_id = p_lease_id and j.attempt = v_ask.attempt
    for update;
    if found then
      v_settled := _settle_one(v_job, v_ask.e);
      id := v_ask.id;
      outcome := v_settled.outcome;
      run_at := v_settled.run_at;
      v_left := v_left || v_settled.left_group;
      return next;
    else
      return query select v_ask.id, _lost_outcome(v_ask.e), null::timestamptz;
    end if;
  end loop;
  if array_remove(v_left, null) <> '{}' then
    perform _change_groups(v_left);
  end if;
end $$;

-- For a worker that stops: ends of attempts, as settle() takes them, that it could not write because an open
-- transaction of an application has the jobs. Waits for nobody. They are written when the lease is given back, by
-- close_lease() or reap(); where the job is not held by lease and attempt by then, nothing happens. Returns how
-- many were taken, 10,000 at most.
create function {{schema}}.leave_settles(p_lease_id bigint, p_jobs jsonb) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_taken integer;
begin
  if jsonb_typeof(p_jobs) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_jobs) e
    where (e ->> 'id' ~ '^[0-9]{1,18}$' and e ->> 'attempt' ~ '^[0-9]{1,9}$' and e ->> 'outcome' in ('complete',
      'fail', 'snooze', 'release', 'rate_limited', 'dead_letter', 'cancel', 'expire')) is not true
  ) then
    raise exception 'what to settle must be an array of objects with the id, attempt and outcome of a job'
      using errcode = 'HW022', hint = 'for example [{"id": 1, "attempt": 1, "outcome": "complete"}]';
  end if;
  insert into _left_settles (lease_id, job_id, attempt, ask)
  select l.id, (e ->> 'id')::bigint, (e ->> 'attempt')::integer, e
  from _leases l cross join lateral (select e from jsonb_array_elements(p_jobs) e limit 10000) e
  where l.id = p_lease_id
  on conflict do nothing;
  get diagnostics v_taken = row_count;
  return v_taken;
end $$;

-- The hot path: many successes in one statement. Returns the stale ids. p_results: an object with the
-- result of each job that has one, by its id. The fence is asked for in this form, not as a join,
-- because a planner that believes the table empty would walk the whole index for a join. p_may_be_wide false: the
-- text of the results has no exponent, so that no numbers need be looked at.
create function {{schema}}.complete_many(
  p_lease_id bigint, p_ids bigint[], p_attempts integer[], p_results jsonb default null,
  p_may_be_wide boolean default true
) returns setof bigint
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_done bigint[];
  v_left _groups[];
  v_batches bigint[];
  v_worker text;
  -- what most attempts are, so that few are looked up
  v_attempt integer := case when p_attempts[1] = all (p_attempts) then p_attempts[1] end;
  -- of the queues this lease has claimed from, those that keep history
  v_keepers integer[];
  v_is_watched boolean;
  v_permits jsonb;  -- of the watched queues, what was given back, by queue
  v_is_awaited boolean;
begin
  select array_agg(distinct q.id) filter (where q.retention_ms > 0), bool_or(q.is_watched),
    exists (select from _watchers)
  into v_keepers, v_is_watched, v_is_awaited
  from _lease_marks m join _queues q on q.id = m.queue_id where m.lease_id = p_lease_id;
  if v_keepers is null then
    -- as below, without the payloads passing through
    with done as (
      delete from _jobs j
      where j.id = any (p_ids) and j.lease_id = p_lease_id
        and (j.attempt = v_attempt or (j.id, j.attempt) in (select * from unnest(p_ids, p_attempts)))
      returning j.id, j.queue_id, j.dead_at, j.group_key, j.batch_id, j.permit
    ), counted as (
      insert into _counter_deltas (queue_id, running, completed, dead)
      select queue_id, -count(*), count(*), -count(dead_at) from done group by queue_id
    )
    select array_agg(id), array_agg((queue_id, group_key, -1, 0, null, null, null)::_groups)
      filter (where group_key is not null and dead_at is null),
      array_agg(batch_id) filter (where batch_id is not null and dead_at is null),
      case when v_is_watched then (select jsonb_object_agg(queue_id, permits) from (
        select queue_id, coalesce(sum(permit), 0) as permits from done group by queue_id) d) end
    into v_done, v_left, v_batches, v_permits from done;
  else
    v_worker := (select worker from _leases where id = p_lease_id);
    with done as (
      delete from _jobs j
      where j.id = any (p_ids) and j.lease_id = p_lease_id
        and (j.attempt = v_attempt or (j.id, j.attempt) in (select * from unnest(p_ids, p_attempts)))
      -- what is counted below comes first: a column is found by walking over those before it
      returning j.id, j.queue_id, j.dead_at, j.group_key, j.batch_id, j.permit, j.enqueued_at,
        j.claimed_at, j.attempt, j.uncounted, j.lane, j.payload, j.headers, j.errors
    ), kept as (
      insert into _history (id, finished_at, enqueued_at, claimed_at, queue_id, attempt, lane, state,
        worker, payload, headers, errors, result, group_key, batch_id)
      select id, v_now, enqueued_at, claimed_at, queue_id, attempt - uncounted, lane, 'completed',
        v_worker, payload, headers, errors,
        case when p_results is not null then _kept_result(p_results -> id::text, p_may_be_wide) end, group_key, batch_id
      from done where queue_id = any (v_keepers)
    ), counted as (
      insert into _counter_deltas (queue_id, running, completed, dead)
      select queue_id, -count(*), count(*), -count(dead_at) from done group by queue_id
    )
    select array_agg(id), array_agg((queue_id, group_key, -1, 0, null, null, null)::_groups)
      filter (where group_key is not null and dead_at is null),
      array_agg(batch_id) filter (where batch_id is not null and dead_at is null),
      case when v_is_watched then (select jsonb_object_agg(queue_id, permits) from (
        select queue_id, coalesce(sum(permit), 0) as permits from done group by queue_id) d) end
    into v_done, v_left, v_batches, v_permits from done;
  end if;
  if v_permits is not null then
    perform _note_completions(v_permits);
  end if;
  if v_batches is not null then
    perform _note_completed(v_batches);
  end if;
  if v_left is not null then
    perform _change_groups(v_left);
  end if;
  if v_is_awaited then
    perform _tell_watchers(v_done);
  end if;
  if coalesce(cardinality(v_done), 0) < cardinality(p_ids) then
    return query select unnest(p_ids) except all select unnest(v_done);
  end if;
end $$;

-- Which of these jobs somebody else has locked: what a settle would have to wait for. Waits for nobody.
create function {{schema}}.held_jobs(p_ids bigint[]) returns setof bigint
language plpgsql security definer {{settings}} as $$
declare
  v_free bigint[] := array(select j.id from _jobs j where j.id = any (p_ids) for update skip locked);
begin
  return query select j.id from _jobs j where j.id = any (p_ids) except all select unnest(v_free);
end $$;

-- For one job, from psql and other languages. A stale one raises.
create function {{schema}}.settle_or_raise(p_lease_id bigint, p_ask jsonb) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_outcome text := (select s.outcome from settle(p_lease_id, p_ask) s);
begin
  if v_outcome = 'stale' then
    raise exception 'job % is no longer held by this lease and attempt', p_ask ->> 'id'
      using errcode = 'HW021', hint = 'its lease ended and it runs elsewhere, or it is settled; drop the work';
  end if;
  return v_outcome;
end $$;

-- The same; a lease that receive() opened goes with its last job (see 0025_pull.sql).
create function {{schema}}._settle_single(p_lease_id bigint, p_ask jsonb) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_held integer;
  v_outcome text;
begin
  select held into v_held from _leases where id = p_lease_id;
  if v_held is not null then
    perform 1 from _leases where id = p_lease_id for no key update;
  end if;
  v_outcome := settle_or_raise(p_lease_id, p_ask);
  if v_held is not null then
    perform _let_go(p_lease_id, 1);
  end if;
  return v_outcome;
end $$;

create function {{schema}}.complete(
  p_lease_id bigint, p_id bigint, p_attempt integer, p_result jsonb default null
) returns text
language sql security definer {{settings}} as $$
  select _settle_single(p_lease_id, jsonb_build_object(
    'outcome', 'complete', 'id', p_id, 'attempt', p_attempt, 'result', p_result))
$$;

create function {{schema}}.fail(
  p_lease_id bigint, p_id bigint, p_attempt integer, p_error jsonb default null,
  p_delay_ms bigint default null
) returns text
language sql security definer {{settings}} as $$
  select _settle_single(p_lease_id, jsonb_build_object('outcome', 'fail', 'id', p_id,
    'attempt', p_attempt, 'error', p_error, 'delay_ms', p_delay_ms))
$$;

create function {{schema}}.snooze(
  p_lease_id bigint, p_id bigint, p_attempt integer, p_delay_ms bigint
) returns text
language sql security definer {{settings}} as $$
  select _settle_single(p_lease_id, jsonb_build_object(
    'outcome', 'snooze', 'id', p_id, 'attempt', p_attempt, 'delay_ms', p_delay_ms))
$$;

create function {{schema}}.release(p_lease_id bigint, p_id bigint, p_attempt integer) returns text
language sql security definer {{settings}} as $$
  select _settle_single(p_lease_id, jsonb_build_object(
    'outcome', 'release', 'id', p_id, 'attempt', p_attempt))
$$;

-- Down Migration

drop function {{schema}}.release(bigint, bigint, integer);
drop function {{schema}}.snooze(bigint, bigint, integer, bigint);
drop function {{schema}}.fail(bigint, bigint, integer, jsonb, bigint);
drop function {{schema}}.complete(bigint, bigint, integer, jsonb);
drop function {{schema}}._settle_single(bigint, jsonb);
drop function {{schema}}.settle_or_raise(bigint, jsonb);
drop function {{schema}}.held_jobs(bigint[]);
drop function {{schema}}.complete_many(bigint, bigint[], integer[], jsonb, boolean);
drop function {{schema}}.leave_settles(bigint, jsonb);
drop function {{schema}}.settle(bigint, jsonb);
drop function {{schema}}._lost_outcome(jsonb);
drop function {{schema}}._settle_one({{schema}}._jobs, jsonb);
