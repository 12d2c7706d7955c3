-- The ends of an attempt, one row at a time: finished into the history, put back, or buried. The caller holds the row.

-- Up Migration

-- Moves a job out of jobs into history, as one of its end states. The caller holds the row's lock.
create function {{schema}}._finish(
  p_job {{schema}}._jobs, p_state text, p_reason text default null, p_result jsonb default null,
  p_ring boolean default true
) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_is_awaited boolean;
begin
  delete from _jobs where id = p_job.id returning exists (select from _watchers) into v_is_awaited;
  insert into _history (id, finished_at, enqueued_at, claimed_at, queue_id, attempt, lane, state,
    reason, worker, payload, headers, errors, result, group_key, batch_id)
  select p_job.id, clock(), p_job.enqueued_at, p_job.claimed_at, p_job.queue_id,
    _attempts_of(p_job), p_job.lane, p_state, p_reason,
    (select worker from _leases where id = p_job.lease_id),
    p_job.payload, p_job.headers, p_job.errors, nullif(_kept_result(p_result), 'null'), p_job.group_key, p_job.batch_id
  from _queues where id = p_job.queue_id and (retention_ms > 0 or p_state <> 'completed');
  insert into _counter_deltas (queue_id, running, ready, scheduled, blocked, dead, completed,
    cancelled, expired, discarded, bytes)
  values (p_job.queue_id,
    -(p_job.lease_id is not null)::integer,
    -(p_job.lease_id is null and p_job.seq is not null)::integer,
    -(p_job.seq is null and p_job.group_seq is null)::integer, -(p_job.group_seq is not null)::integer,
    -(p_job.dead_at is not null)::integer, (p_state = 'completed')::integer, (p_state = 'cancelled')::integer,
    (p_state = 'expired')::integer, (p_state = 'discarded')::integer,
    _delta_bytes(p_job.queue_id, -p_job.bytes * (p_job.lease_id is null)::integer));
  if p_job.permit is not null then
    perform _return_permits(p_job.queue_id, p_job.permit);
  end if;
  if p_job.batch_id is not null and p_job.dead_at is null then
    perform _note_ended(p_job.batch_id, (p_state = 'completed')::integer, (p_state <> 'completed')::integer,
      p_ring);
  end if;
  if v_is_awaited and p_ring then
    perform _tell_watchers(array[p_job.id]);
  end if;
end $$;

-- Puts an unleased or leased job back: ready now (p_run_at null) or scheduled. At the head for
-- interrupted work, else at the tail: order is by readiness.
create function {{schema}}._put_back(
  p_job {{schema}}._jobs, p_run_at timestamptz, p_at_head boolean, p_failed boolean default false
) returns void
language plpgsql security definer {{settings}} as $$
declare
  -- a parked job keeps its lane, as a suspect does that has not run in order; else even is the head and
  -- odd the ordinary lane of a priority
  v_lane smallint := case when p_job.lane = 32767 or p_job.lane < 0 and p_at_head then p_job.lane
    else _plain_lane(p_job.lane) / 2 * 2 + (not p_at_head)::integer end;
begin
  update _jobs set lease_id = null, permit = null, lane = v_lane, cancel_requested = false,
    cancel_reason = null,
    run_at = coalesce(p_run_at, least(run_at, clock())),
    -- the waiting TTL is over once a job has begun; interrupted or hurried ones keep it
    expires_at = case when not p_failed and p_run_at is null then expires_at end,
    seq = case when p_run_at is null then nextval('job_seq') end, follow_seq = null,
    uncounted = p_job.uncounted, crashes = p_job.crashes, errors = p_job.errors
  where id = p_job.id;
  insert into _counter_deltas (queue_id, running, ready, scheduled, failed, bytes)
  values (p_job.queue_id, -(p_job.lease_id is not null)::integer,
    (p_run_at is null)::integer - (p_job.lease_id is null and p_job.seq is not null)::integer,
    (p_run_at is not null)::integer - (p_job.seq is null)::integer, p_failed::integer,
    _delta_bytes(p_job.queue_id, p_job.bytes * (p_job.lease_id is not null)::integer));
  if p_job.permit is not null then
    perform _return_permits(p_job.queue_id, p_job.permit);
  end if;
  if p_run_at is null then
    perform _ring_queue(p_job.queue_id, 1, 0);
  else
    perform _ring_promoter(p_run_at);
  end if;
end $$;

-- Sends a job to its dead-letter queue, where it can be consumed like any other. A job that dies there
-- again is parked: kept and listed, but claimed no more, so that no loop can form. Nothing is buried in,
-- or left in, a queue that was deleted: the default queue of the dead takes its place.
create function {{schema}}._bury(p_job {{schema}}._jobs, p_reason text) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_target integer := coalesce((select d.id from _queues q join _queues d on d.deleted_at is null
    and d.id = case when p_job.dead_at is null then q.dead_letter_queue_id else q.id end
    where q.id = p_job.queue_id), 1);
  v_is_parked boolean := p_job.dead_at is not null or v_target = p_job.queue_id;
  v_lane smallint := _plain_lane(p_job.lane) | 1::smallint;
  v_is_awaited boolean;
begin
  if v_is_parked then
    v_lane := 32767;
  end if;
  update _jobs set queue_id = v_target, lane = v_lane, seq = nextval('job_seq'), lease_id = null,
    permit = null, run_at = null, expires_at = null, cancel_requested = false,
    cancel_reason = null,
    dead_at = coalesce(p_job.dead_at, clock()), dead_reason = p_reason,
    origin_queue_id = coalesce(p_job.origin_queue_id, p_job.queue_id),
    uncounted = p_job.attempt, crashes = 0, errors = p_job.errors, group_seq = null, follow_seq = null
  where id = p_job.id returning exists (select from _watchers) into v_is_awaited;
  insert into _counter_deltas (queue_id, running, ready, scheduled, blocked, failed, buried, dead,
    bytes)
  values (p_job.queue_id, -(p_job.lease_id is not null)::integer,
    -(p_job.lease_id is null and p_job.seq is not null)::integer,
    -(p_job.seq is null and p_job.group_seq is null)::integer, -(p_job.group_seq is not null)::integer,
    1, 1, -(p_job.dead_at is not null)::integer,
    _delta_bytes(p_job.queue_id, -p_job.bytes * (p_job.lease_id is null)::integer));
  insert into _counter_deltas (queue_id, ready, dead, bytes) values (v_target, 1, 1, _delta_bytes(v_target, p_job.bytes));
  if p_job.permit is not null then
    perform _return_permits(p_job.queue_id, p_job.permit);
  end if;
  if not v_is_parked then
    perform _ring_queue(v_target, 1, 0);
  end if;
  if p_job.batch_id is not null and p_job.dead_at is null then
    perform _note_ended(p_job.batch_id, 0, 1);
  end if;
  if v_is_awaited then
    perform _tell_watchers(array[p_job.id]);
  end if;
end $$;

-- Delay before the next attempt after p_failures failed ones, in milliseconds.
create function {{schema}}._backoff_ms(p_queue {{schema}}._queues, p_failures integer)
returns double precision
language sql volatile as $$
  select least(p_queue.backoff_max_ms, p_queue.backoff_ms * case p_queue.backoff
      when 'exponential' then power(2, least(greatest(p_failures, 1) - 1, 40)) else 1 end)
    * (1 - p_queue.backoff_jitter + 2 * p_queue.backoff_jitter * random())
$$;

-- Appends an error to a job's history of errors, of which the last 100 are kept.
create function {{schema}}._add_error(p_job {{schema}}._jobs, p_error jsonb) returns jsonb
language sql volatile as $$
  select case when jsonb_array_length(e) > 100 then e - 0 else e end
  from (select coalesce(p_job.errors, '[]') || jsonb_build_array(
    case when {{schema}}._is_too_long(p_error, 65536) or {{schema}}._is_too_deep(p_error)
        then '{"message": "error not stored: it is longer than 65536 bytes, deeper than 500 levels, or has a number beyond 1.8e308"}'
      when jsonb_typeof(p_error) = 'object' then p_error
      else jsonb_build_object('message', coalesce(p_error #>> '{}', 'no error given')) end
    || jsonb_build_object('attempt', p_job.attempt - p_job.uncounted,
      'at', to_char({{schema}}.clock() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
  ) as e) x
$$;

-- Down Migration

drop function {{schema}}._add_error({{schema}}._jobs, jsonb);
drop function {{schema}}._backoff_ms({{schema}}._queues, integer);
drop function {{schema}}._bury({{schema}}._jobs, text);
drop function {{schema}}._put_back({{schema}}._jobs, timestamptz, boolean, boolean);
drop function {{schema}}._finish({{schema}}._jobs, text, text, jsonb, boolean);
