-- Limits of a queue: concurrency, rate, circuit breaker and holds, asked by claims. Claims of one limited queue take
-- turns on its row of limits, for the length of a claim; settles never touch that row.
-- Lock order: lease, jobs, queues, limits.

-- Up Migration

-- What a claim may take of a queue with limits.
create type {{schema}}._room as (
  at       timestamptz,
  jobs     integer,
  permits  integer,            -- null: no bound on what runs
  tokens   double precision,   -- null: no rate
  counts   boolean,            -- jobs take permits
  is_probe boolean,
  epoch    bigint,             -- of the row of limits
  reason   text,               -- why there is no more room
  again_ms bigint              -- when to come again
);

-- What was picked of a lane: the lists of claim_many().
create type {{schema}}._picked as (
  ctids tid[], last_seq bigint, top_seq bigint, ids text, enqueued text, payloads text, rest jsonb,
  is_cut boolean   -- more jobs are there than fit
);

-- What the token bucket holds at most: rate_burst, else what comes in 250 ms.
create function {{schema}}._bucket_size(p_queue {{schema}}._queues) returns double precision
language sql immutable as $$
  select coalesce(p_queue.rate_burst,
    greatest(ceil(p_queue.rate_max * 250.0 / p_queue.rate_ms), 1))::float8
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
  perform _hold_queue(_queue_id_of(p_name), p_retry_after_ms, p_reason);
end $$;

-- Locks the row of limits and folds what came back. Entries folded since the last vacuum are not walked
-- again, but now and then it begins at the first, for transactions that committed late: p_is_full.
create function {{schema}}._fold_limit(p_queue {{schema}}._queues, p_is_full boolean default false)
returns {{schema}}._limits
language plpgsql security definer {{settings}} as $$
declare
  v_limit _limits;
  v_now timestamptz;
  v_count integer;
  v_last bigint;
  v_permits integer;
  v_failed_at timestamptz[];
  v_succeeded boolean;
begin
  select * into v_limit from _limits where queue_id = p_queue.id order by epoch desc limit 1
  for no key update skip locked;
  if not found then
    -- another claim has it, for a moment. A consumer's open transaction, for how long nobody knows: a worker's
    -- connection gives up soon
    begin
      select * into v_limit from _limits where queue_id = p_queue.id order by epoch desc limit 1
      for no key update;
    exception when lock_not_available then
      return null;
    end;
  end if;
  v_now := clock();
  -- a time to come was written while the clock of the server was ahead
  p_is_full := v_limit.folded_at > v_now or v_limit.folded_at < v_now
    - case when p_is_full then interval '200 milliseconds' else interval '5 seconds' end;
  with gone as (
    delete from _limit_deltas d
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
    v_limit := _move_circuit(p_queue, v_limit, v_failed_at, coalesce(v_succeeded, false));
  end if;
  update _limits set running = v_limit.running, folded_at = v_limit.folded_at, mark = v_limit.mark,
    marked_at = v_limit.marked_at, next_mark = v_limit.next_mark, circuit = v_limit.circuit,
    circuit_until = v_limit.circuit_until, circuit_ms = v_limit.circuit_ms, circuit_reason = v_limit.circuit_reason,
    failed_at = v_limit.failed_at, probe_at = v_limit.probe_at
  where queue_id = p_queue.id and epoch = v_limit.epoch;
  return v_limit;
end $$;

-- Milliseconds until the bucket holds enough to be worth a claim: what comes in 20 ms, at least one.
create function {{schema}}._refill_ms(p_queue {{schema}}._queues, p_tokens double precision)
returns bigint
language sql volatile as $$
  select greatest(ceil((least(greatest(1, p_queue.rate_max * 20.0 / p_queue.rate_ms),
    {{schema}}._bucket_size(p_queue)) - p_tokens) * p_queue.rate_ms / p_queue.rate_max), 1)::bigint
$$;

-- What a claim may take. The row of limits stays locked until the claim commits.
create function {{schema}}._room_of(p_queue {{schema}}._queues, p_jobs integer)
returns {{schema}}._room
language plpgsql security definer {{settings}} as $$
declare
  v_limit _limits;
  v_room _room;
begin
  v_room.at := clock();
  v_room.jobs := p_jobs;
  v_room.is_probe := false;
  v_room.counts := p_queue.concurrency_max is not null;
  v_limit := _fold_limit(p_queue);
  v_room.epoch := v_limit.epoch;
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
      update _limits set circuit = 'half-open', probe_at = null
      where queue_id = p_queue.id and epoch = v_limit.epoch;
    end if;
    if v_limit.circuit = 'open' then
      v_room.reason := 'circuit-open';
      v_room.again_ms := coalesce(_ms_until(v_limit.circuit_until), 1000);
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
      v_limit := _fold_limit(p_queue, true);
      v_room.permits := p_queue.concurrency_max - v_limit.running;
    end if;
    if v_room.permits < 1 then
      v_room.reason := 'concurrency';
      v_room.again_ms := 250;
    end if;
    if (v_room.permits < 1) <> v_limit.is_hit then
      update _limits set is_hit = v_room.permits < 1
      where queue_id = p_queue.id and epoch = v_limit.epoch;
    end if;
  end if;
  if p_queue.rate_max is not null and v_room.reason is null then
    if v_limit.refilled_at > v_room.at then
      v_limit.refilled_at := v_room.at;
      update _limits set refilled_at = v_room.at where queue_id = p_queue.id and epoch = v_limit.epoch;
    end if;
    v_room.tokens := least(_bucket_size(p_queue), v_limit.tokens + p_queue.rate_max
      * greatest(extract(epoch from v_room.at - v_limit.refilled_at)::float8, 0) * 1000
      / p_queue.rate_ms);
    if v_room.tokens < 1 then
      v_room.reason := 'rate';
      v_room.again_ms := _refill_ms(p_queue, v_room.tokens);
    end if;
  end if;
  v_room.jobs := case when v_room.reason is null
    then least(v_room.jobs, v_room.permits, floor(v_room.tokens)) else 0 end;
  return v_room;
end $$;

-- Why a queue with limits gives no jobs, as far as that can be said without locking or folding: for who looks at
-- many queues and asks those that may. is_stop: so whether it has jobs or not.
create function {{schema}}._hold_of(
  p_queue {{schema}}._queues, out reason text, out again_ms bigint, out is_stop boolean
)
language plpgsql stable security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_limit _limits;
  v_tokens double precision;
begin
  is_stop := true;
  select * into v_limit from _limits where queue_id = p_queue.id order by epoch desc limit 1;
  if p_queue.breaker_failures is not null and v_limit.circuit = 'open'
      and coalesce(v_limit.circuit_until > v_now, true) then
    reason := 'circuit-open';
    again_ms := coalesce(_ms_until(v_limit.circuit_until), 1000);
    return;
  end if;
  is_stop := false;
  if p_queue.breaker_failures is not null and v_limit.circuit = 'half-open' and v_limit.probe_at
      + p_queue.breaker_cooldown_ms * interval '1 millisecond' > v_now then
    reason := 'circuit-half-open';
    again_ms := 100;
  elsif v_limit.running >= p_queue.concurrency_max and v_limit.is_hit and not exists (
      select from _limit_deltas where queue_id = p_queue.id) then  -- else a claim says that it is hit, or folds
    reason := 'concurrency';
    again_ms := 250;
  elsif p_queue.rate_max is not null then
    v_tokens := least(_bucket_size(p_queue), v_limit.tokens + p_queue.rate_max
      * greatest(extract(epoch from v_now - v_limit.refilled_at)::float8, 0) * 1000 / p_queue.rate_ms);
    if v_tokens < 1 then
      reason := 'rate';
      again_ms := _refill_ms(p_queue, v_tokens);
    end if;
  end if;
end $$;

-- As the read in claim_many(), for as many jobs as fit. p_limit is within the room already, so only jobs
-- heavier than 1 can be too many: then again with as many as fit. A heavy job counts for no more than a
-- limit has.
create function {{schema}}._pick_within(
  p_queue {{schema}}._queues, p_room {{schema}}._room, p_lane smallint, p_after bigint, p_limit integer,
  p_together boolean
) returns {{schema}}._picked
language plpgsql security definer {{settings}} as $$
declare
  v _picked;
  v_limit integer := p_limit;
  v_weight bigint;
  v_bucket double precision := _bucket_size(p_queue);
begin
  loop
    select a.ctids, a.top, greatest(a.plain, case when a.other_ids is not null then (
      select u.seq from (
        select x.id, x.seq from unnest(a.other_ids, a.other_seqs) x (id, seq) order by x.seq desc offset 0
      ) u
      where exists (select from _jobs o where o.id = u.id and o.seq = u.seq) limit 1
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
      from _jobs j
      where j.queue_id = p_queue.id and j.lane = p_lane and j.seq is not null
        and j.seq > p_after and j.lease_id is null
      order by j.seq limit v_limit for update skip locked
    ) c) a;
    exit when v_weight is null;
    select count(*) into v_limit from (
      select sum(least(w.weight, p_queue.concurrency_max)) over (order by w.seq) as permits,
        sum(least(w.weight, v_bucket)) over (order by w.seq) as tokens
      from (select seq, coalesce(weight, 1) as weight from _jobs where ctid = any (v.ctids)) w
    ) c
    where coalesce(c.permits <= p_room.permits, true) and coalesce(c.tokens <= p_room.tokens, true);
    exit when v_limit = cardinality(v.ctids);
    if v_limit = 0 then
      v := null;
      exit;
    end if;
  end loop;
  v.is_cut := coalesce(cardinality(v.ctids), 0) < p_limit and exists (
    select from _jobs j
    where j.queue_id = p_queue.id and j.lane = p_lane and j.seq is not null
      and j.seq > coalesce(v.last_seq, p_after) and j.lease_id is null);
  return v;
end $$;

-- Writes what is taken into the jobs and the row of limits; returns what is left of the room.
create function {{schema}}._charge(
  p_queue {{schema}}._queues, p_room {{schema}}._room, p_ctids tid[], p_lease_id bigint
) returns {{schema}}._room
language plpgsql security definer {{settings}} as $$
declare
  v_weight integer;
  v_permits integer;
begin
  with taken as (
    update _jobs set lease_id = p_lease_id, attempt = attempt + 1, claimed_at = p_room.at,
      permit = case when p_room.counts then least(coalesce(weight, 1), p_queue.concurrency_max) end
    where ctid = any (p_ctids)
    returning weight, permit
  )
  select sum(coalesce(weight, 1)), sum(permit) into v_weight, v_permits from taken;
  p_room.jobs := p_room.jobs - cardinality(p_ctids);
  p_room.tokens := p_room.tokens - v_weight;
  p_room.permits := p_room.permits - v_permits;
  update _limits set running = running + coalesce(v_permits, 0),
    tokens = coalesce(p_room.tokens, tokens),
    refilled_at = case when p_room.tokens is null then refilled_at else p_room.at end,
    probe_at = case when p_room.is_probe then p_room.at else probe_at end,
    epoch = epoch + (random() < 0.04)::integer
  where queue_id = p_queue.id and epoch = p_room.epoch returning epoch into p_room.epoch;
  return p_room;
end $$;

-- The last row of a claim: why there is no more room, and when to come again.
create function {{schema}}._close_room(
  p_queue {{schema}}._queues, p_room {{schema}}._room, p_is_cut boolean
) returns jsonb
language plpgsql security definer {{settings}} as $$
begin
  if p_room.reason is null then
    if p_room.permits < 1 or p_is_cut and p_room.permits is not null then
      update _limits set is_hit = true
      where queue_id = p_queue.id and epoch = p_room.epoch and not is_hit;
      p_room.reason := 'concurrency';
      p_room.again_ms := 250;  -- should the ring be lost
    elsif p_room.tokens < 1 then
      p_room.reason := 'rate';
      p_room.again_ms := _refill_ms(p_queue, p_room.tokens);
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

-- Down Migration

drop function {{schema}}._close_room({{schema}}._queues, {{schema}}._room, boolean);
drop function {{schema}}._charge({{schema}}._queues, {{schema}}._room, tid[], bigint);
drop function {{schema}}._pick_within({{schema}}._queues, {{schema}}._room, smallint, bigint, integer, boolean);
drop function {{schema}}._hold_of({{schema}}._queues);
drop function {{schema}}._room_of({{schema}}._queues, integer);
drop function {{schema}}._refill_ms({{schema}}._queues, double precision);
drop function {{schema}}._fold_limit({{schema}}._queues, boolean);
drop function {{schema}}.limit_queue(text, bigint, text);
drop function {{schema}}._bucket_size({{schema}}._queues);
drop type {{schema}}._picked;
drop type {{schema}}._room;
