-- Pull: any program is a consumer with two calls, receive() and a settle. Visibility is the lease:
-- receive() opens one for what it claims, and whoever wants to keep one job of several for longer moves it to
-- a lease of its own (extend_job). Settles stay fenced by (id, lease, attempt). A lease that holds
-- nothing any more goes at once; what its consumer leaves is given back by the reaper when it ends.
-- Lock order: leases by id, then jobs by id.

-- Up Migration

-- Pull: any program is a consumer with two calls, receive() and a settle. Visibility is the lease:
-- receive() opens one for what it claims, and whoever wants to keep one job of several for longer moves it to
-- a lease of its own (extend_job). Settles stay fenced by (id, lease, attempt). A lease that holds
-- nothing any more goes at once; what its consumer leaves is given back by the reaper when it ends.
-- Lock order: leases by id, then jobs by id.



-- Takes up to p_max ready jobs for p_visibility_ms (null: as the queue says). Nothing is written when nothing is ready. p_lanes and
-- p_after: cursors, as for claim_many(). Jobs beyond their waiting TTL are recorded as expired.
create function {{schema}}.receive(
  p_queue text, p_max integer default 1, p_visibility_ms integer default null,
  p_lanes smallint[] default '{}', p_after bigint[] default '{}', p_consumer text default 'pull'
) returns table (
  lease_id bigint, id bigint, attempt integer, uncounted integer, payload jsonb, headers jsonb,
  enqueued_at timestamptz, max_attempts smallint, errors jsonb, lane smallint, seq bigint,
  visible_at timestamptz, group_key text
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_left _groups[] := '{}';
  v_queue _queues;
  v_known record;
  v_lane smallint;
  v_lease_id bigint;
  v_visible_at timestamptz;
  v_claim record;
  v_job _jobs;
  v_held integer := 0;
  v_lanes smallint[];
begin
  if p_max is null or p_max not between 1 and 1000 then
    raise exception 'max % is out of bounds', coalesce(p_max::text, 'null') using errcode = 'HW070',
      hint = 'receive 1 to 1000 jobs at once';
  end if;
  if p_visibility_ms not between 100 and 43200000 then
    raise exception 'visibility of % ms is out of bounds', p_visibility_ms
      using errcode = 'HW023',
      hint = 'use 100 ms to 12 hours, in milliseconds, or null: as the queue says';
  end if;
  select * into v_queue from _queues where name = p_queue and deleted_at is null;
  if not found then
    perform _queue_id_of(p_queue);  -- raises
  end if;
  if v_queue.paused_at is not null and coalesce(v_queue.paused_until > clock(), true) then
    return;
  end if;
  p_visibility_ms := coalesce(p_visibility_ms, v_queue.visibility_ms);
  select * into v_known from _lane_starts(v_queue.id, p_lanes, p_after, (select last_value from job_seq));
  select n.lane into v_lane from _next_lane(v_queue.id, v_known.lanes, v_known.starts, '-32768') n;
  if v_lane is null then
    return;
  end if;

  v_lease_id := open_lease(p_consumer, p_visibility_ms, '{}', true);
  for v_claim in
    select c.lane, c.max_attempts, string_to_array(c.ids, ',')::bigint[] as ids, c.rest
    from claim_many(p_queue, v_lease_id, p_max, p_lanes, p_after, 1, 'none') c
    where c.lane is not null  -- a queue with limits says more
  loop
    v_lanes := v_lanes || v_claim.lane;
    -- what a claim marks spans more than it took: here it is known exactly, so that the reaper reads
    -- no more than these
    update _lease_marks m set low_seq = r.low, high_seq = r.high
    from (select min(j.seq) as low, max(j.seq) as high from _jobs j where j.id = any (v_claim.ids)) r
    where m.lease_id = v_lease_id and m.queue_id = v_queue.id and m.lane = v_claim.lane;
    for v_job in select * from _jobs j where j.id = any (v_claim.ids) order by j.seq loop
      if v_job.expires_at < v_job.claimed_at then
        v_left := v_left || (_settle_one(v_job, '{"outcome": "expire"}')).left_group;
        continue;
      end if;
      v_held := v_held + 1;
      v_visible_at := v_job.claimed_at + p_visibility_ms * interval '1 millisecond';
      return query select v_lease_id, v_job.id, v_job.attempt, v_job.uncounted, v_job.payload,
        v_job.headers, v_job.enqueued_at, coalesce(v_job.max_attempts, v_claim.max_attempts),
        v_job.errors, v_job.lane, coalesce((v_claim.rest -> v_job.id::text ->> 0)::bigint, v_job.seq),
        v_visible_at, v_job.group_key;
    end loop;
  end loop;
  perform _change_groups(v_left);
  if v_held = 0 then
    delete from _lease_marks m where m.lease_id = v_lease_id;
    delete from _leases l where l.id = v_lease_id;
    return;
  end if;
  delete from _lease_marks m where m.lease_id = v_lease_id and not m.lane = any (v_lanes);
  update _leases l set held = v_held, expires_at = v_visible_at where l.id = v_lease_id;
end $$;

-- Settles jobs of any leases: [{"lease", "id", "attempt", "outcome", ...}], each as settle() takes it. A
-- row for each, by id, with its place in the array; 'stale' where the job is no longer held by that lease and attempt.
create function {{schema}}.settle_received(p_jobs jsonb)
returns table (ordinal integer, id bigint, outcome text, run_at timestamptz)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_ask record;
  v_job _jobs;
  v_settled record;
  v_leases bigint[];
  v_left _groups[] := '{}';
begin
  if jsonb_typeof(p_jobs) = 'object' then
    p_jobs := jsonb_build_array(p_jobs);
  end if;
  if jsonb_typeof(p_jobs) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_jobs) e
    where (e ->> 'id' ~ '^[0-9]{1,18}$' and e ->> 'lease' ~ '^[0-9]{1,19}$'
      and (e ->> 'lease')::numeric < 9223372036854775808
      and coalesce(e ->> 'attempt', '0') ~ '^-?[0-9]{1,9}$') is not true
  ) then
    raise exception 'what to settle must be an array of objects with lease, id and attempt of a job'
      using errcode = 'HW022',
      hint = 'for example [{"lease": 1, "id": 1, "attempt": 1, "outcome": "complete"}]';
  end if;
  perform 1 from _leases l
  where l.id in (select (e ->> 'lease')::bigint from jsonb_array_elements(p_jobs) e)
    and l.held is not null  -- a worker's is for its heartbeat
  order by l.id for no key update;
  for v_ask in
    select n, (e ->> 'lease')::bigint as lease, (e ->> 'id')::bigint as id,
      (e ->> 'attempt')::integer as attempt, e
    from jsonb_array_elements(p_jobs) with ordinality j (e, n) order by 3, 1
  loop
    ordinal := v_ask.n;
    id := v_ask.id;
    select * into v_job from _jobs j
    where j.id = v_ask.id and j.lease_id = v_ask.lease and j.attempt = v_ask.attempt
    for update;
    if found then
      v_settled := _settle_one(v_job, v_ask.e);
      outcome := v_settled.outcome;
      run_at := v_settled.run_at;
      v_leases := v_leases || v_ask.lease;
      v_left := v_left || v_settled.left_group;
    else
      outcome := 'stale';
      run_at := null;
    end if;
    return next;
  end loop;
  perform _change_groups(v_left);
  perform _let_go(u.lease, u.n) from (
    select lease, count(*)::integer as n from unnest(v_leases) lease group by lease order by lease
  ) u;
end $$;

-- One job's visibility now ends p_visibility_ms from now. Returns the lease that holds it from now on: of
-- several jobs under one lease it moves to a lease of its own. Raises when its lease has ended.
create function {{schema}}.extend_job(
  p_lease_id bigint, p_id bigint, p_attempt integer, p_visibility_ms integer
) returns table (lease_id bigint, visible_at timestamptz)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_lease _leases;
  v_job _jobs;
begin
  if p_visibility_ms is null or p_visibility_ms not between 100 and 43200000 then
    raise exception 'visibility of % ms is out of bounds', coalesce(p_visibility_ms::text, 'null')
      using errcode = 'HW023', hint = 'use 100 ms to 12 hours; to give a job back, release it';
  end if;
  select * into v_lease from _leases l
  where l.id = p_lease_id and (l.held is null or l.expires_at <= clock());
  if not found then
    select * into v_lease from _leases l where l.id = p_lease_id for update;
  end if;
  if not found or v_lease.expires_at <= clock() then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'its jobs run elsewhere or will; drop the work';
  end if;
  select * into v_job from _jobs j
  where j.id = p_id and j.lease_id = p_lease_id and j.attempt = p_attempt for update;
  if not found then
    raise exception 'job % is no longer held by this lease and attempt', p_id using errcode = 'HW021',
      hint = 'it is settled, or extended under another lease; drop the work';
  end if;
  if v_lease.held is null then
    raise exception 'lease % belongs to a worker, which renews it', p_lease_id
      using errcode = 'HW023', hint = 'extend jobs that receive() gave out';
  end if;
  visible_at := clock() + p_visibility_ms * interval '1 millisecond';
  if v_lease.held = 1 then
    lease_id := p_lease_id;
    update _leases l set expires_at = visible_at, lease_ms = p_visibility_ms,
      due_at = case when l.due_at > visible_at then visible_at else l.due_at end
    where l.id = p_lease_id;
  else
    lease_id := open_lease(v_lease.worker, p_visibility_ms, v_lease.info, true);
    update _leases l set held = 1, expires_at = visible_at where l.id = lease_id;
    insert into _lease_marks (lease_id, queue_id, lane, low_seq, seen_seq, high_seq, marked_at)
    values (lease_id, v_job.queue_id, v_job.lane, v_job.seq, 0, v_job.seq, clock());
    update _jobs j set lease_id = extend_job.lease_id where j.id = p_id;
    perform _let_go(p_lease_id, 1);
  end if;
  return next;
end $$;

-- Down Migration

drop function {{schema}}.extend_job(bigint, bigint, integer, integer);
drop function {{schema}}.settle_received(jsonb);
drop function {{schema}}.receive(text, integer, integer, smallint[], bigint[], text);
