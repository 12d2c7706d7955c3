-- Limits of a queue: concurrency, rate, circuit breaker, and what a handler learned of a service
-- (HTTP 429). Claims of one limited queue take turns on its row of limits, for the length of a claim;
-- settles never touch that row: they insert what they give back, and the next claim folds it.
-- Lock order: lease, jobs, queues, limits.
--
-- What runs is counted by permits: a claim writes into the job what it takes, whatever ends the lease of
-- a job gives back exactly that. So the count cannot drift when a limit is set, changed or taken away
-- while jobs run; jobs claimed before the first limit hold none and are not counted.

-- Up Migration

create function {{schema}}.ms_until(p_time timestamptz) returns bigint
language sql volatile as $$
  select greatest(ceil(extract(epoch from p_time - {{schema}}.clock()) * 1000), 0)::bigint
$$;

-- What the token bucket holds at most: rate_burst, else what comes in 250 ms.
create function {{schema}}.bucket_size(p_queue {{schema}}.queues) returns double precision
language sql immutable as $$
  select coalesce(p_queue.rate_burst,
    greatest(ceil(p_queue.rate_max * 250.0 / p_queue.rate_ms), 1))::float8
$$;

-- Gives permits back, and rings if a claim found no room. Only an insert: waits for nobody.
create function {{schema}}.return_permits(p_queue_id integer, p_permits integer) returns void
language plpgsql security definer {{settings}} as $$
begin
  insert into limit_deltas (queue_id, permits) values (p_queue_id, p_permits);
  if exists (select from limits where queue_id = p_queue_id and is_hit)
    and exists (select from sleepers where queue_id = p_queue_id) then
    perform ring_queue(p_queue_id, p_permits, 0);
  end if;
end $$;

-- For the circuit breaker. Success matters only while the circuit is not closed.
create function {{schema}}.note_outcome(p_queue {{schema}}.queues, p_outcome text) returns void
language plpgsql security definer {{settings}} as $$
begin
  if p_outcome in ('fail', 'dead_letter') then
    insert into limit_deltas (queue_id, failed_at) values (p_queue.id, clock());
  elsif p_outcome = 'complete'
    and exists (select from limits where queue_id = p_queue.id and circuit = 'half-open') then
    insert into limit_deltas (queue_id, succeeded) values (p_queue.id, true);
  end if;
end $$;

-- What the jobs that complete_many() has deleted give back: permits by the id of their queue.
create function {{schema}}.note_completions(p_permits jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_done record;
begin
  for v_done in
    select q as queue, p.value::integer as permits
    from jsonb_each(p_permits) p join queues q on q.id = p.key::integer and q.is_watched
  loop
    if v_done.permits > 0 then
      perform return_permits((v_done.queue).id, v_done.permits);
    end if;
    if (v_done.queue).breaker_failures is not null then
      perform note_outcome(v_done.queue, 'complete');
    end if;
  end loop;
end $$;

-- A handler, or a person, was told to come again later: nothing is claimed until then. Only an insert, and only
-- where it is longer than what is known: waits for nobody.
create function {{schema}}.hold_queue(
  p_queue_id integer, p_ms double precision, p_reason text
) returns void
language sql security definer {{settings}} as $$
  insert into holds (queue_id, until, reason, at)
  select p_queue_id, n.until, coalesce(left(p_reason, 500), 'rate limited'), clock()
  from (select clock() + p_ms * interval '1 millisecond' as until) n
  where not exists (select from holds h where h.queue_id = p_queue_id and h.until >= n.until)
$$;

create function {{schema}}.limit_queue(
  p_name text, p_retry_after_ms bigint, p_reason text default null
) returns void
language plpgsql security definer {{settings}} as $$
begin
  if p_retry_after_ms is null or p_retry_after_ms not between 0 and 315360000000 then
    raise exception 'retry_after_ms % is not valid', coalesce(p_retry_after_ms::text, 'null')
      using errcode = 'HW062', hint = 'use milliseconds from 0 to 315360000000 (10 years)';
  end if;
  perform hold_queue(queue_id_of(p_name), p_retry_after_ms, p_reason);
end $$;

-- Opens or closes the circuit by what jobs reported, newest last. Called with the row of limits locked.
create function {{schema}}.move_circuit(
  p_queue {{schema}}.queues, p_limit {{schema}}.limits, p_failed_at timestamptz[], p_succeeded boolean
) returns {{schema}}.limits
language plpgsql security definer {{settings}} as $$
declare
  v_count integer := coalesce(p_queue.breaker_failures, 0);
begin
  if v_count = 0 or p_limit.circuit = 'open' then
    return p_limit;  -- of attempts begun before it opened
  end if;
  if p_limit.circuit = 'half-open' and p_failed_at is not null then
    p_limit.circuit_reason := 'the probe failed';
  elsif p_limit.circuit = 'half-open' then
    if p_succeeded then
      p_limit.circuit := 'closed';
      p_limit.failed_at := '{}';
      p_limit.probe_at := null;
    end if;
    return p_limit;
  else
    p_limit.failed_at := p_limit.failed_at || p_failed_at;
    p_limit.failed_at := p_limit.failed_at[greatest(cardinality(p_limit.failed_at) - v_count, 0) + 1:];
    if cardinality(p_limit.failed_at) < v_count or p_limit.failed_at[1]
        < p_limit.failed_at[v_count] - p_queue.breaker_window_ms * interval '1 millisecond' then
      return p_limit;
    end if;
    p_limit.circuit_reason := format('%s failures within %s ms', v_count, p_queue.breaker_window_ms);
  end if;
  p_limit.circuit := 'open';
  p_limit.circuit_until := clock() + p_queue.breaker_cooldown_ms * interval '1 millisecond';
  p_limit.circuit_ms := p_queue.breaker_cooldown_ms;
  p_limit.failed_at := '{}';
  p_limit.probe_at := null;
  return p_limit;
end $$;

-- Locks the row of limits and folds what came back. Entries folded since the last vacuum are not walked
-- again, but now and then it begins at the first, for transactions that committed late: p_is_full.
create function {{schema}}.fold_limit(p_queue {{schema}}.queues, p_is_full boolean default false)
returns {{schema}}.limits
language plpgsql security definer {{settings}} as $$
declare
  v_limit limits;
  v_now timestamptz;
  v_count integer;
  v_last bigint;
  v_permits integer;
  v_failed_at timestamptz[];
  v_succeeded boolean;
begin
  select * into v_limit from limits where queue_id = p_queue.id for no key update skip locked;
  if not found then
    -- another claim has it, for a moment. A consumer's open transaction, for how long nobody knows: a worker's
    -- connection gives up soon
    begin
      select * into v_limit from limits where queue_id = p_queue.id for no key update;
    exception when lock_not_available then
      return null;
    end;
  end if;
  v_now := clock();
  -- a time to come was written while the clock of the server was ahead
  p_is_full := v_limit.folded_at > v_now or v_limit.folded_at < v_now
    - case when p_is_full then interval '200 milliseconds' else interval '5 seconds' end;
  with gone as (
    delete from limit_deltas d
    where d.queue_id = p_queue.id and d.id > case when p_is_full then 0 else v_limit.mark end
    returning d.*
  )
  select count(*), max(id), coalesce(sum(permits), 0),
    array_agg(failed_at order by failed_at) filter (where failed_at is not null), bool_or(succeeded)
  into v_count, v_last, v_permits, v_failed_at, v_succeeded from gone;
  if v_count = 0 and not p_is_full then
    return v_limit;
  end if;
  v_limit.running := v_limit.running - v_permits;
  if p_is_full then
    v_limit.folded_at := v_now;
  end if;
  if v_limit.marked_at < v_now - interval '1 second' or v_limit.marked_at > v_now then
    v_limit.mark := v_limit.next_mark;
    v_limit.marked_at := v_now;
    v_limit.next_mark := greatest(v_limit.next_mark, v_last);
  end if;
  if v_failed_at is not null or v_succeeded then
    v_limit := move_circuit(p_queue, v_limit, v_failed_at, coalesce(v_succeeded, false));
  end if;
  update limits set running = v_limit.running, folded_at = v_limit.folded_at, mark = v_limit.mark,
    marked_at = v_limit.marked_at, next_mark = v_limit.next_mark, circuit = v_limit.circuit,
    circuit_until = v_limit.circuit_until, circuit_ms = v_limit.circuit_ms, circuit_reason = v_limit.circuit_reason,
    failed_at = v_limit.failed_at, probe_at = v_limit.probe_at
  where queue_id = p_queue.id;
  return v_limit;
end $$;

-- Milliseconds until the bucket holds enough to be worth a claim: what comes in 20 ms, at least one.
create function {{schema}}.refill_ms(p_queue {{schema}}.queues, p_tokens double precision)
returns bigint
language sql volatile as $$
  select greatest(ceil((least(greatest(1, p_queue.rate_max * 20.0 / p_queue.rate_ms),
    {{schema}}.bucket_size(p_queue)) - p_tokens) * p_queue.rate_ms / p_queue.rate_max), 1)::bigint
$$;

-- What a claim may take. The row of limits stays locked until the claim commits.
create function {{schema}}.room_of(p_queue {{schema}}.queues, p_jobs integer)
returns {{schema}}.room
language plpgsql security definer {{settings}} as $$
declare
  v_limit limits;
  v_room room;
begin
  v_room.at := clock();
  v_room.jobs := p_jobs;
  v_room.is_probe := false;
  v_room.counts := p_queue.concurrency_max is not null;
  v_limit := fold_limit(p_queue);
  v_room.at := clock();  -- after the wait for the lock
  if v_limit.queue_id is null then
    v_room.reason := 'concurrency';
    v_room.again_ms := 50;
    v_room.jobs := 0;
    return v_room;
  end if;
  if p_queue.breaker_failures is not null and v_limit.circuit <> 'closed' then
    if v_limit.circuit = 'open' and (v_limit.circuit_until <= v_room.at
      or v_limit.circuit_until > v_room.at + v_limit.circuit_ms * interval '1 millisecond') then
      v_limit.circuit := 'half-open';
      v_limit.probe_at := null;
      update limits set circuit = 'half-open', probe_at = null where queue_id = p_queue.id;
    end if;
    if v_limit.circuit = 'open' then
      v_room.reason := 'circuit-open';
      v_room.again_ms := coalesce(ms_until(v_limit.circuit_until), 1000);
    elsif v_limit.probe_at <= v_room.at
      and v_limit.probe_at + p_queue.breaker_cooldown_ms * interval '1 millisecond' > v_room.at then
      v_room.reason := 'circuit-half-open';  -- one probe is under way
      v_room.again_ms := 100;
    else
      v_room.jobs := least(p_jobs, 1);
      v_room.is_probe := true;
    end if;
  end if;
  if p_queue.concurrency_max is not null and v_room.reason is null then
    v_room.permits := p_queue.concurrency_max - v_limit.running;
    if v_room.permits < 1 then
      v_limit := fold_limit(p_queue, true);
      v_room.permits := p_queue.concurrency_max - v_limit.running;
    end if;
    if v_room.permits < 1 then
      v_room.reason := 'concurrency';
      v_room.again_ms := 250;
    end if;
    if (v_room.permits < 1) <> v_limit.is_hit then
      update limits set is_hit = v_room.permits < 1 where queue_id = p_queue.id;
    end if;
  end if;
  if p_queue.rate_max is not null and v_room.reason is null then
    if v_limit.refilled_at > v_room.at then
      v_limit.refilled_at := v_room.at;
      update limits set refilled_at = v_room.at where queue_id = p_queue.id;
    end if;
    v_room.tokens := least(bucket_size(p_queue), v_limit.tokens + p_queue.rate_max
      * greatest(extract(epoch from v_room.at - v_limit.refilled_at)::float8, 0) * 1000
      / p_queue.rate_ms);
    if v_room.tokens < 1 then
      v_room.reason := 'rate';
      v_room.again_ms := refill_ms(p_queue, v_room.tokens);
    end if;
  end if;
  v_room.jobs := case when v_room.reason is null
    then least(v_room.jobs, v_room.permits, floor(v_room.tokens)) else 0 end;
  return v_room;
end $$;

-- Why a queue with limits gives no jobs, as far as that can be said without locking or folding: for who looks at
-- many queues and asks those that may. is_stop: so whether it has jobs or not.
create function {{schema}}.hold_of(
  p_queue {{schema}}.queues, out reason text, out again_ms bigint, out is_stop boolean
)
language plpgsql stable security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_limit limits;
  v_tokens double precision;
begin
  is_stop := true;
  select * into v_limit from limits where queue_id = p_queue.id;
  if p_queue.breaker_failures is not null and v_limit.circuit = 'open'
      and coalesce(v_limit.circuit_until > v_now, true) then
    reason := 'circuit-open';
    again_ms := coalesce(ms_until(v_limit.circuit_until), 1000);
    return;
  end if;
  is_stop := false;
  if p_queue.breaker_failures is not null and v_limit.circuit = 'half-open' and v_limit.probe_at
      + p_queue.breaker_cooldown_ms * interval '1 millisecond' > v_now then
    reason := 'circuit-half-open';
    again_ms := 100;
  elsif v_limit.running >= p_queue.concurrency_max and v_limit.is_hit and not exists (
      select from limit_deltas where queue_id = p_queue.id) then  -- else a claim says that it is hit, or folds
    reason := 'concurrency';
    again_ms := 250;
  elsif p_queue.rate_max is not null then
    v_tokens := least(bucket_size(p_queue), v_limit.tokens + p_queue.rate_max
      * greatest(extract(epoch from v_now - v_limit.refilled_at)::float8, 0) * 1000 / p_queue.rate_ms);
    if v_tokens < 1 then
      reason := 'rate';
      again_ms := refill_ms(p_queue, v_tokens);
    end if;
  end if;
end $$;

-- As the read in claim_many(), for as many jobs as fit. p_limit is within the room already, so only jobs
-- heavier than 1 can be too many: then again with as many as fit. A heavy job counts for no more than a
-- limit has.
create function {{schema}}.pick_within(
  p_queue {{schema}}.queues, p_room {{schema}}.room, p_lane smallint, p_after bigint, p_limit integer,
  p_together boolean
) returns {{schema}}.picked
language plpgsql security definer {{settings}} as $$
declare
  v picked;
  v_limit integer := p_limit;
  v_weight bigint;
  v_bucket double precision := bucket_size(p_queue);
begin
  loop
    select a.ctids, a.top, greatest(a.plain, case when a.other_ids is not null then (
      select u.seq from (
        select x.id, x.seq from unnest(a.other_ids, a.other_seqs) x (id, seq) order by x.seq desc offset 0
      ) u
      where exists (select from jobs o where o.id = u.id and o.seq = u.seq) limit 1
    ) end),
      a.ids, a.enqueued, a.payloads, a.rest, a.weight
    into v.ctids, v.top_seq, v.last_seq, v.ids, v.enqueued, v.payloads, v.rest, v_weight
    from (select array_agg(c.ctid) as ctids, max(c.seq) as top,
      max(c.seq) filter (where c.seq = c.id) as plain,
      array_agg(c.id) filter (where c.seq <> c.id) as other_ids,
      array_agg(c.seq) filter (where c.seq <> c.id) as other_seqs,
      string_agg(c.id::text, ',') as ids,
      string_agg(floor(date_part('epoch', c.enqueued_at) * 1000)::bigint::text, ',') as enqueued,
      string_agg(case when p_together then c.payload::text end, ',') as payloads,
      jsonb_object_agg(c.id, jsonb_build_array(c.seq, c.attempt + 1, c.uncounted,
        coalesce(c.expires_at < p_room.at, false), c.max_attempts, c.headers, c.errors,
        c.group_key))
        filter (where c.seq <> c.id or c.attempt > 0 or c.expires_at < p_room.at
          or c.max_attempts is not null or c.headers is not null) as rest,
      sum(c.weight) as weight
    from (
      select j.ctid, j.id, j.enqueued_at, j.attempt, j.uncounted, j.seq, j.group_key, j.payload,
        j.expires_at, j.max_attempts, j.headers, j.errors, j.weight
      from jobs j
      where j.queue_id = p_queue.id and j.lane = p_lane and j.seq is not null
        and j.seq > p_after and j.lease_id is null
      order by j.seq limit v_limit for update skip locked
    ) c) a;
    exit when v_weight is null;
    select count(*) into v_limit from (
      select sum(least(w.weight, p_queue.concurrency_max)) over (order by w.seq) as permits,
        sum(least(w.weight, v_bucket)) over (order by w.seq) as tokens
      from (select seq, coalesce(weight, 1) as weight from jobs where ctid = any (v.ctids)) w
    ) c
    where coalesce(c.permits <= p_room.permits, true) and coalesce(c.tokens <= p_room.tokens, true);
    exit when v_limit = cardinality(v.ctids);
    if v_limit = 0 then
      v := null;
      exit;
    end if;
  end loop;
  v.is_cut := coalesce(cardinality(v.ctids), 0) < p_limit and exists (
    select from jobs j
    where j.queue_id = p_queue.id and j.lane = p_lane and j.seq is not null
      and j.seq > coalesce(v.last_seq, p_after) and j.lease_id is null);
  return v;
end $$;

-- Writes what is taken into the jobs and the row of limits; returns what is left of the room.
create function {{schema}}.charge(
  p_queue {{schema}}.queues, p_room {{schema}}.room, p_ctids tid[], p_lease_id bigint
) returns {{schema}}.room
language plpgsql security definer {{settings}} as $$
declare
  v_weight integer;
  v_permits integer;
begin
  with taken as (
    update jobs set lease_id = p_lease_id, attempt = attempt + 1, claimed_at = p_room.at,
      permit = case when p_room.counts then least(coalesce(weight, 1), p_queue.concurrency_max) end
    where ctid = any (p_ctids)
    returning weight, permit
  )
  select sum(coalesce(weight, 1)), sum(permit) into v_weight, v_permits from taken;
  p_room.jobs := p_room.jobs - cardinality(p_ctids);
  p_room.tokens := p_room.tokens - v_weight;
  p_room.permits := p_room.permits - v_permits;
  update limits set running = running + coalesce(v_permits, 0),
    tokens = coalesce(p_room.tokens, tokens),
    refilled_at = case when p_room.tokens is null then refilled_at else p_room.at end,
    probe_at = case when p_room.is_probe then p_room.at else probe_at end
  where queue_id = p_queue.id;
  return p_room;
end $$;

-- The last row of a claim: why there is no more room, and when to come again.
create function {{schema}}.close_room(
  p_queue {{schema}}.queues, p_room {{schema}}.room, p_is_cut boolean
) returns jsonb
language plpgsql security definer {{settings}} as $$
begin
  if p_room.reason is null then
    if p_room.permits < 1 or p_is_cut and p_room.permits is not null then
      update limits set is_hit = true where queue_id = p_queue.id and not is_hit;
      p_room.reason := 'concurrency';
      p_room.again_ms := 250;  -- should the ring be lost
    elsif p_room.tokens < 1 then
      p_room.reason := 'rate';
      p_room.again_ms := refill_ms(p_queue, p_room.tokens);
    elsif p_is_cut and p_room.tokens is not null then
      p_room.reason := 'rate';
      p_room.again_ms := 20;
    elsif p_room.is_probe and p_room.jobs < 1 then
      p_room.reason := 'circuit-half-open';
      p_room.again_ms := 100;
    end if;
  end if;
  return jsonb_build_object('reason', p_room.reason, 'again_ms', p_room.again_ms);
end $$;

-- Opens or closes a circuit by hand. Open: until p_until, or until it is closed by hand; then a probe.
create function {{schema}}.set_circuit(
  p_name text, p_state text, p_reason text default null, p_until timestamptz default null
) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id integer := queue_id_of(p_name);
begin
  if p_state is null or p_state not in ('open', 'closed') then
    raise exception 'circuit %s is not valid', coalesce(quote_literal(p_state), 'null')
      using errcode = 'HW061', hint = 'use open or closed';
  end if;
  if p_until <= clock() or p_until > clock() + interval '10 years' then
    raise exception 'a circuit cannot be open until %', p_until using errcode = 'HW062',
      hint = 'name a time that is to come, at most 10 years ahead';
  end if;
  if not exists (select from queues where id = v_id and breaker_failures is not null) then
    raise exception 'queue % has no circuit breaker', quote_literal(p_name) using errcode = 'HW061',
      hint = 'give it the policy key breaker_failures, or pause it';
  end if;
  update limits set circuit = p_state, failed_at = '{}', probe_at = null,
    circuit_until = case when p_state = 'open' then p_until end, circuit_ms = null,
    circuit_reason = left(coalesce(p_reason, 'by hand'), 500)
  where queue_id = v_id;
  perform ring_queue(v_id, 16, 0) where p_state = 'closed';
end $$;

-- Priority ageing of one queue: what waited longer than ageing_ms goes to the next higher lane in use,
-- once a pass; a pass begins every ageing_ms. done: the pass is at its end.
create function {{schema}}.age_queue(
  p_queue {{schema}}.queues, p_limit integer, out aged integer, out done boolean
)
language plpgsql security definer {{settings}} as $$
declare
  v_lane smallint;
  v_to smallint;
  v_ids bigint[];
  v_seqs bigint[];
begin
  aged := 0;
  -- the ordinary one too: it may be empty at this moment only
  for v_lane in
    select 201 union select r.lane from ready_lanes(p_queue.id) r where r.lane % 2 = 1 order by 1
  loop
    if v_to is not null then
      v_ids := array(
        select j.id from (
          select id, run_at, enqueued_at from jobs
          where queue_id = p_queue.id and lane = v_lane and seq is not null
            and seq > lane_floor(p_queue.id, v_lane) and seq <= p_queue.aged_seq
            and lease_id is null and dead_at is null
          order by seq limit greatest(p_limit - aged, 0) for update skip locked
        ) j
        where greatest(j.enqueued_at, j.run_at)
          < clock() - p_queue.ageing_ms * interval '1 millisecond'
      );
      if cardinality(v_ids) > 0 then
        v_seqs := array(select nextval('job_seq') from generate_series(1, cardinality(v_ids)));
        -- as in promote()
        select array_agg(u.id order by u.id), array_agg(u.seq order by u.id) into v_ids, v_seqs
        from unnest(v_ids, v_seqs) u (id, seq);
        update jobs j set lane = v_to, seq = v_seqs[width_bucket(j.id, (select v_ids))]
        where j.id = any (v_ids);
        aged := aged + cardinality(v_ids);
      end if;
    end if;
    v_to := v_lane;
  end loop;
  done := aged < p_limit;
end $$;

-- Upkeep of queues: pauses and waits that are over are taken off, priorities age, and groups open whose queue
-- lets more of them run than before.
create function {{schema}}.tend_queues(p_limit integer default 1000)
returns table (freed integer, aged integer, opened integer)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_pass record;
  v_aged integer := 0;
  v_freed integer;
  v_opened integer := 0;
  v_queue_id integer;
begin
  -- said while the clock of the server was ahead
  update holds set until = clock() + (until - at), at = clock() where ctid = any (array(
    select h.ctid from holds h where h.at > clock() + interval '1 second' limit 1000
    for update skip locked));
  with over as (
    update queues set
      paused_at = case when paused_until <= clock() then null else paused_at end,
      paused_reason = case when paused_until <= clock() then null else paused_reason end,
      paused_until = case when paused_until <= clock() then null else paused_until end
    where id = any (array(select id from queues where paused_until <= (select clock())
      order by paused_until for no key update skip locked))
    returning id
  ), waited as (
    delete from holds where ctid = any (array(
      select h.ctid from holds h where h.until <= (select clock())
      order by h.until limit 10000 for update skip locked))
    returning queue_id
  )
  select count(*) into v_freed from (
    select ring_queue(x.id, 16, 0) from (
      select id from over
      union select queue_id from waited w where not exists (
        select from holds h where h.queue_id = w.queue_id and h.until > clock())
    ) x
  ) r;
  -- of holds only the longest matters
  delete from holds where ctid = any (array(
    select h.ctid from holds h where exists (
      select from holds l where l.queue_id = h.queue_id and (l.until, l.id) > (h.until, h.id))
    limit 10000 for update skip locked));

  for v_queue in
    select * from queues where ageing_ms is not null and deleted_at is null
      and (aged_seq is not null or aged_at > clock()
        or aged_at < clock() - ageing_ms * interval '1 millisecond')
    order by ageing_ms, id for no key update skip locked
  loop
    if v_queue.aged_seq is null then
      v_queue.aged_at := clock();
      v_queue.aged_seq := (select last_value from job_seq);
    end if;
    v_pass := age_queue(v_queue, least(greatest(p_limit, 1), 10000));
    v_aged := v_aged + v_pass.aged;
    update queues set aged_at = v_queue.aged_at,
      aged_seq = case when not v_pass.done then v_queue.aged_seq end
    where id = v_queue.id;
  end loop;
  for v_queue_id in select queue_id from group_openings order by queue_id limit 10 loop
    v_opened := v_opened + open_groups(v_queue_id, least(greatest(p_limit, 1), 1000));
  end loop;
  return query select v_freed, v_aged, v_opened;
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.tend_queues(integer);
drop function {{schema}}.age_queue({{schema}}.queues, integer);
drop function {{schema}}.set_circuit(text, text, text, timestamptz);
drop function {{schema}}.close_room({{schema}}.queues, {{schema}}.room, boolean);
drop function {{schema}}.charge({{schema}}.queues, {{schema}}.room, tid[], bigint);
drop function {{schema}}.pick_within({{schema}}.queues, {{schema}}.room, smallint, bigint, integer, boolean);
drop function {{schema}}.hold_of({{schema}}.queues);
drop function {{schema}}.room_of({{schema}}.queues, integer);
drop function {{schema}}.refill_ms({{schema}}.queues, double precision);
drop function {{schema}}.fold_limit({{schema}}.queues, boolean);
drop function {{schema}}.move_circuit({{schema}}.queues, {{schema}}.limits, timestamptz[], boolean);
drop function {{schema}}.limit_queue(text, bigint, text);
drop function {{schema}}.hold_queue(integer, double precision, text);
drop function {{schema}}.note_completions(jsonb);
drop function {{schema}}.note_outcome({{schema}}.queues, text);
drop function {{schema}}.return_permits(integer, integer);
drop function {{schema}}.bucket_size({{schema}}.queues);
drop function {{schema}}.ms_until(timestamptz);
