-- Admission: which of the jobs that enqueue() was given are inserted. Dedupe keys, bounded queues and
-- queues that are closed to new jobs. Jobs of none of these never come here.

-- Up Migration

-- Remembers a key longer than its job lives. digest: of the payload that the job carries, or carried.
create table {{schema}}.dedupes (
  queue_id   integer not null,
  key        text not null,
  job_id     bigint not null,
  digest     bytea not null,
  expires_at timestamptz not null,
  constraint dedupes_pkey primary key (queue_id, key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index dedupes_expires_idx on {{schema}}.dedupes (expires_at);

create function {{schema}}.prune_dedupes(p_limit integer default 10000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_pruned integer;
begin
  delete from dedupes where ctid = any (array(
    select d.ctid from dedupes d where d.expires_at < (select clock())
    order by d.expires_at limit least(greatest(p_limit, 0), 100000) for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- What waits in a queue, without reading jobs: ready, scheduled and blocked ones and the bytes of their payloads.
-- Exact for what is committed, and for this transaction. deltas: how many rows were read for it.
create function {{schema}}.waiting_in(
  p_queue_id integer, out depth bigint, out bytes bigint, out deltas integer
)
language sql volatile security definer {{settings}} as $$
  select coalesce(c.ready + c.scheduled + c.blocked, 0) + d.n, coalesce(c.bytes, 0) + d.bytes, d.deltas::integer
  from (
    select coalesce(sum(ready + scheduled + blocked), 0)::bigint as n, coalesce(sum(bytes), 0)::bigint as bytes,
      count(*) as deltas
    from counter_deltas where queue_id = p_queue_id and bytes is not null
  ) d left join counters c on c.queue_id = p_queue_id
$$;

-- Where nobody rolls counters up, producers keep the number of rows small that each of them reads. Waits
-- for nobody: rows that another session folds are skipped.
create function {{schema}}.fold_deltas(p_queue_id integer) returns void
language sql security definer {{settings}} as $$
  with gone as (
    delete from counter_deltas where id = any (array(
      select d.id from counter_deltas d where d.queue_id = p_queue_id and d.bytes is not null
      limit 1000 for update skip locked))
    returning *
  )
  insert into counter_deltas (queue_id, ready, scheduled, blocked, running, dead, enqueued, completed,
    failed, cancelled, expired, buried, discarded, bytes)
  select p_queue_id, sum(ready), sum(scheduled), sum(blocked), sum(running), sum(dead), sum(enqueued),
    sum(completed), sum(failed), sum(cancelled), sum(expired), sum(buried), sum(discarded), sum(bytes)
  from gone having count(*) > 0
$$;

-- A queue that has just got a bound: what changed its depth until now counts.
create function {{schema}}.begin_counting(p_queue_id integer) returns void
language sql security definer {{settings}} as $$
  update counter_deltas set bytes = 0 where queue_id = p_queue_id and bytes is null
    and exists (select from queues where id = p_queue_id and is_guarded)
$$;

-- When p_excess jobs will have left, as fast as jobs have ended lately: 50 ms to 30 s. 1 s: nobody knows.
create function {{schema}}.retry_after_ms(p_queue_id integer, p_excess double precision)
returns integer
language sql volatile security definer {{settings}} as $$
  select coalesce((
    select least(greatest(p_excess * 1000
      / greatest(smoothed_rate(rate, 0, rated_at, clock()), 0.001), 50), 30000)::integer
    from counters where queue_id = p_queue_id), 1000)
$$;

-- Ready jobs that would have to end for so many jobs and bytes to leave: those claimed last of all (lowest
-- priority), the oldest of them first, without those in p_not. Null: there are not enough, or more than p_limit
-- would have to. Bytes are freed only by what is counted, which is what came since the queue has had a bound.
create function {{schema}}.oldest_ready(
  p_queue_id integer, p_count bigint, p_bytes bigint, p_limit integer, p_not bigint[]
) returns bigint[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids bigint[] := '{}';
  v_bytes bigint := 0;
  v_lane smallint;
  v_after bigint;
  v_job record;
  v_from bigint := (select case when q.bounded_seq <= s.last_value then q.bounded_seq else 0 end
    from queues q, job_seq s where q.id = p_queue_id);
begin
  for v_pass in 1 .. 2 loop  -- counted ones for the bytes, then any
    for v_lane in
      select r.lane from ready_lanes(p_queue_id) r order by r.lane desc
    loop
      v_after := greatest(lane_floor(p_queue_id, v_lane), case v_pass when 1 then v_from end);
      for v_job in
        select j.id, j.bytes from jobs j
        where j.queue_id = p_queue_id and j.lane = v_lane and j.seq is not null and j.seq > v_after
          and j.lease_id is null and (v_pass = 2 or j.bytes > 0) and j.id <> all (p_not)
        order by j.seq limit p_limit + 1
      loop
        exit when case v_pass when 1 then v_bytes >= p_bytes else cardinality(v_ids) >= p_count end;
        continue when v_pass = 2 and p_bytes > 0 and v_job.id = any (v_ids);
        if cardinality(v_ids) >= p_limit then
          return null;
        end if;
        v_ids := v_ids || v_job.id;
        v_bytes := v_bytes + coalesce(v_job.bytes, 0);
      end loop;
    end loop;
  end loop;
  if v_bytes >= p_bytes and cardinality(v_ids) >= p_count then
    return v_ids;
  end if;
  return null;
end $$;

-- Ends ready jobs so that so many jobs and bytes leave, as few as are enough, or none where that cannot be;
-- the history has them as discarded. Scheduled ones stay. It waits for nobody: what others hold is passed over.
-- left_groups is for change_groups().
create function {{schema}}.drop_oldest(
  p_queue_id integer, p_count bigint, p_bytes bigint, p_limit integer, p_ring boolean,
  out dropped bigint, out bytes bigint, out left_groups {{schema}}.groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_ids bigint[];
  v_mine bigint[];
  v_not bigint[] := '{}';
  v_job jobs;
begin
  dropped := 0;
  bytes := 0;
  left_groups := '{}';
  for v_try in 1 .. 10 loop
    v_ids := oldest_ready(p_queue_id, p_count, p_bytes, p_limit, v_not);
    v_mine := array(
      select j.id from jobs j where j.id = any (v_ids) and j.lease_id is null and j.seq is not null
      for update skip locked);
    exit when v_ids is null or cardinality(v_mine) = cardinality(v_ids);
    v_not := v_not || array(select u from unnest(v_ids) u where u <> all (v_mine));
    v_ids := null;
  end loop;
  if v_ids is null then
    return;
  end if;
  for v_job in select * from jobs j where j.id = any (v_ids) loop
    perform finish(v_job, 'discarded', 'dropped: the queue was full', null, p_ring);
    left_groups := left_groups || left_group(v_job);
    dropped := dropped + 1;
    bytes := bytes + coalesce(v_job.bytes, 0);
  end loop;
end $$;

-- Gives a waiting job the payload and headers of a newer one, and its time unless p_run_at is null. The
-- caller holds the row's lock. A ready job without a new time keeps its place; so does a member of a group
-- always, for its group gives it its turn.
create function {{schema}}.supersede(
  p_job {{schema}}.jobs, p_new jsonb, p_run_at timestamptz, p_now timestamptz, p_ring boolean
) returns void
language plpgsql security definer {{settings}} as $$
declare
  -- null: it keeps its time, as one does that is ready and is to be
  v_run_at timestamptz := case
    when p_job.group_key is null and (p_run_at > p_now or p_run_at is not null and p_job.seq is null)
    then greatest(p_run_at, p_now) end;
  v_is_scheduled boolean := case
    -- what is due does not wait for promote(), which passes over rows that are locked all the time
    when v_run_at is null then p_job.seq is null and (p_job.group_seq is not null
      or coalesce(p_job.run_at > p_now, true) or is_pending(p_job.after_id))
    -- what waits for another job of its key stays scheduled until that is over
    else v_run_at > p_now or p_job.seq is null and is_pending(p_job.after_id) end;
  v_bytes integer := case when p_job.bytes is not null
    then octet_length((p_new -> 'payload')::text) end;
  v_seq bigint := p_job.seq;
begin
  if v_is_scheduled then
    v_seq := null;
  elsif v_seq is null then
    v_seq := nextval('job_seq');
  end if;
  update jobs set payload = p_new -> 'payload', headers = nullif(p_new -> 'headers', 'null'),
    bytes = v_bytes, seq = v_seq,
    run_at = coalesce(v_run_at, run_at),
    -- the waiting TTL goes with the time; greatest() would pass over a null
    expires_at = expires_at + coalesce(v_run_at - greatest(run_at, enqueued_at), interval '0')
  where id = p_job.id;
  insert into counter_deltas (queue_id, ready, scheduled, bytes)
  select p_job.queue_id, (p_job.seq is null)::integer - v_is_scheduled::integer,
    v_is_scheduled::integer - (p_job.seq is null)::integer, v_bytes - p_job.bytes
  where v_is_scheduled <> (p_job.seq is null) or v_bytes <> p_job.bytes;
  if p_ring and v_is_scheduled and v_run_at is not null then
    perform ring_promoter(v_run_at);
  elsif p_ring and not v_is_scheduled then
    -- also one that was ready: a claim may have met it locked
    perform ring_queue(p_job.queue_id, 1, 0);
  end if;
end $$;

-- Whether a job that waits should have begun by now: it is due, and a worker sleeps for want of a job. Claims
-- and promote() pass over a row that is locked, so whoever would change it leaves it alone then, where others
-- change it too: it would be locked for ever.
create function {{schema}}.is_wanted(p_id bigint) returns boolean
language sql stable security definer {{settings}} as $$
  select exists (
    select from jobs j join queues q on q.id = j.queue_id
    where j.id = p_id and j.lease_id is null and j.dead_at is null and j.group_seq is null
      and (j.seq is not null or j.run_at <= clock() and not is_pending(j.after_id))
      and (q.paused_at is null or q.paused_until <= clock())
      -- who does not say that he sleeps may come seldom
      and greatest(j.enqueued_at, j.run_at) < clock() - case
        when exists (select from sleepers s where s.queue_id = j.queue_id)
          then interval '250 milliseconds' else interval '10 seconds' end)
$$;

-- Until when a key is remembered that this job takes.
create function {{schema}}.key_until(p_job jsonb, p_delay_ms bigint, p_now timestamptz)
returns timestamptz
language sql stable security definer {{settings}} as $$
  select case when coalesce(p_job #>> '{dedupe,mode}', 'skip') = 'skip' then p_now
      else greatest(run_at_of(p_job, p_delay_ms, p_now), p_now) end
    + coalesce((p_job #>> '{dedupe,window_ms}')::float8, 300000) * interval '1 millisecond'
$$;

-- Takes all dedupe keys of the jobs at the gate, in order, and then locks what of their jobs waits: those that
-- are not blocked by id, then the groups of the blocked ones with all those that this statement joins, by key, then
-- those. A new key is written as the first of its jobs will have it: whoever refuses that deletes it.
-- mine: the waiting jobs that are locked. spared: those that are left alone, see is_wanted(); they count
-- as begun, and so do others that are not in mine. Both are sorted. held: a change for each group that was locked, of nothing.
create function {{schema}}.lock_keys(
  p_jobs jsonb, p_ids bigint[], p_problems text[], p_now timestamptz,
  out mine bigint[], out spared bigint[], out held {{schema}}.groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_key record;
  v_job jsonb;
  v_old dedupes;
  v_is_contended boolean;
  v_waiting bigint[] := '{}';
  v_blocked bigint[];
  v_group record;
begin
  mine := '{}';
  spared := '{}';
  held := '{}';
  for v_key in
    select q.id as queue_id, k.key, k.n, k.changes, q.delay_ms, q.max_depth, q.max_bytes
    from (
      select e.j ->> 'queue' as queue, e.j #>> '{dedupe,key}' as key, min(e.n)::integer as n,
        bool_or(coalesce(e.j #>> '{dedupe,mode}', 'skip') <> 'skip') as changes
      from jsonb_array_elements(p_jobs) with ordinality e (j, n)
      where p_problems[e.n] = 'gate' and e.j #>> '{dedupe,key}' is not null
      group by 1, 2
    ) k join queues q on q.name = k.queue and q.deleted_at is null and q.closed_at is null
    order by q.id, k.key collate "C"
  loop
    v_job := p_jobs -> (v_key.n - 1);
    v_is_contended := false;
    -- at most as often as others take and lose the key at this very moment
    for v_try in 1 .. 101 loop
      v_old := null;
      if v_try > 100 then
        raise exception 'the dedupe key of job % changes hands too often', v_key.n
          using errcode = '40001', hint = 'try again';
      elsif not v_key.changes then
        select * into v_old from dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now;
      elsif v_try = 1 then
        select * into v_old from dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now
        for update skip locked;
      else
        select * into v_old from dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now for update;
      end if;
      exit when v_old.job_id is not null;
      insert into dedupes as d (queue_id, key, job_id, digest, expires_at)
      values (v_key.queue_id, v_key.key, p_ids[v_key.n],
        sha256(convert_to((v_job -> 'payload')::text, 'UTF8')),
        key_until(v_job, v_key.delay_ms, p_now))
      on conflict (queue_id, key) do update set job_id = excluded.job_id, digest = excluded.digest,
        expires_at = excluded.expires_at
      where d.expires_at <= p_now;  -- its window has ended; else another session was first
      exit when found;
      v_is_contended := true;
    end loop;
    if v_key.changes and v_old.job_id is not null then
      if v_is_contended and is_wanted(v_old.job_id) and has_room(v_key.queue_id,
        octet_length((v_job -> 'payload')::text), v_key.max_depth, v_key.max_bytes) then
        spared := spared || v_old.job_id;
      else
        v_waiting := v_waiting || v_old.job_id;
      end if;
    end if;
  end loop;
  spared := array(select u from unnest(spared) u order by u);
  if v_waiting = '{}' then
    return;
  end if;
  mine := array(
    select j.id from jobs j
    where j.id = any (v_waiting) and j.lease_id is null and j.dead_at is null and j.group_seq is null
    order by j.id for update);
  v_blocked := array(
    select j.id from jobs j
    where j.id in (select unnest(v_waiting) except select unnest(mine)) and j.lease_id is null and j.dead_at is null);
  if v_blocked = '{}' then
    return;
  end if;
  for v_group in
    select j.queue_id, j.group_key as key from jobs j
    where j.id = any (v_blocked) and j.group_key is not null
    union
    select q.id, (e.j ->> 'group') collate "C" from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    join queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
    where e.j ->> 'group' is not null and p_ids[e.n] is not null
    order by 1, 2
  loop
    -- one that is new goes again with the change of nothing, unless somebody joins
    insert into groups as g (queue_id, key, admitted, waiting, mark)
    values (v_group.queue_id, v_group.key, 0, 0, 9223372036854775807)
    on conflict (queue_id, key) do update set waiting = g.waiting;
    held := held || (v_group.queue_id, v_group.key, 0, 0, null, null, null)::groups;
  end loop;
  mine := mine || array(
    select j.id from jobs j
    where j.id = any (v_blocked) and j.lease_id is null and j.dead_at is null
    -- one that was admitted meanwhile may be claimed this very moment
    for update skip locked);
  mine := array(select u from unnest(mine) u order by u);
end $$;

-- Whether one more job of this size fits.
create function {{schema}}.has_room(
  p_queue_id integer, p_size bigint, p_max_depth integer, p_max_bytes bigint
) returns boolean
language sql volatile security definer {{settings}} as $$
  select coalesce(p_max_depth, p_max_bytes) is null or (
    select coalesce(w.depth < p_max_depth, true) and coalesce(w.bytes + p_size <= p_max_bytes, true)
    from waiting_in(p_queue_id) w)
$$;

-- Decides about the jobs that enqueue() has marked with the problem 'gate'; p_ids are the ids it has
-- drawn for them. jobs, ids, after_ids: what is to be inserted. The other arrays answer job by job. left_groups,
-- held: for change_groups(), the first without waiting. What is refused leaves nothing behind.
-- Lock order: as lock_keys() says; then nothing is waited for.
create function {{schema}}.pass_gate(
  p_jobs jsonb, p_ids bigint[], p_problems text[], p_now timestamptz, p_on_error text,
  p_ring boolean, out jobs jsonb, out ids bigint[], out after_ids bigint[], out answer_ids bigint[],
  out created boolean[], out problems text[], out same boolean[], out details jsonb[],
  out left_groups {{schema}}.groups[], out held {{schema}}.groups[]
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_variable
declare
  v_row record;
  v_out jsonb[] := '{}';
  v_count integer := 0;   -- of v_out
  v_locked record := lock_keys(p_jobs, p_ids, p_problems, p_now);
  v_queue_id integer;
  v_depth bigint;         -- what waits in the queue, once this statement is done
  v_bytes bigint;
  v_deltas integer;
  v_freed record;
  v_may_drop integer := 10000;  -- by this statement
  v_mode text;
  v_size bigint;
  v_old_size bigint;
  v_over bigint;
  v_over_bytes bigint;
  v_digest bytea;
  v_run_at timestamptz;
  v_is_new boolean;       -- the key has been taken for this job
  v_old dedupes;
  v_job jobs;
  v_text record;
begin
  ids := '{}';
  after_ids := '{}';
  answer_ids := p_ids;
  problems := array_replace(p_problems, 'gate', 'HW001');
  created := array(select p is null from unnest(p_problems) with ordinality u (p, n) order by n);
  same := array_fill(null::boolean, array[cardinality(p_ids)]);
  details := array_fill(null::jsonb, array[cardinality(p_ids)]);
  left_groups := '{}';
  held := v_locked.held;
  for v_row in
    select e.n::integer as n, e.j, q.id as queue_id, q.max_depth, q.max_bytes, q.closed_at,
      q.closed_reason, q.delay_ms, e.j #>> '{dedupe,key}' as key,
      q.max_depth is not null or q.max_bytes is not null as is_bounded
    from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    join queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
    where p_problems[e.n] = 'gate'
    order by q.id, e.j #>> '{dedupe,key}' collate "C" nulls first, e.n
  loop
    if v_row.queue_id is distinct from v_queue_id then
      v_queue_id := v_row.queue_id;
      if v_row.is_bounded then
        select w.depth, w.bytes, w.deltas into v_depth, v_bytes, v_deltas
        from waiting_in(v_queue_id) w;
        if v_deltas > 500 and v_depth < v_row.max_depth is not false then
          perform fold_deltas(v_queue_id);
        end if;
      end if;
    end if;
    problems[v_row.n] := null;
    v_size := octet_length((v_row.j -> 'payload')::text);
    v_old := null;
    v_is_new := false;

    <<decide>>
    begin
      if v_row.closed_at is not null then
        problems[v_row.n] := 'HW041';
        details[v_row.n] := jsonb_strip_nulls(jsonb_build_object('reason', v_row.closed_reason,
          'closed_at', v_row.closed_at));
        exit decide;
      end if;
      if v_row.key is not null then
        v_mode := coalesce(v_row.j #>> '{dedupe,mode}', 'skip');
        v_digest := sha256(convert_to((v_row.j -> 'payload')::text, 'UTF8'));
        v_run_at := run_at_of(v_row.j, v_row.delay_ms, p_now);
        select * into v_old from dedupes d
        where d.queue_id = v_queue_id and d.key = v_row.key and d.expires_at > p_now;
        v_is_new := v_old.job_id = p_ids[v_row.n] is true;
        if v_is_new then
          v_old := null;
        end if;
        v_job := null;
        if v_old.job_id is not null and v_mode <> 'skip' then
          select * into v_job from jobs j where j.id = v_old.job_id
            and v_old.job_id = v_locked.mine[width_bucket(v_old.job_id, v_locked.mine)];
        end if;
        if v_old.job_id is not null
          -- inserted by this very statement: keys come together, so it is the last one
          and (v_mode = 'skip' or v_job.id is not null or v_old.job_id = ids[v_count]) then
          answer_ids[v_row.n] := v_old.job_id;
          created[v_row.n] := false;
          same[v_row.n] := v_old.digest = v_digest;
          exit decide when v_mode = 'skip' or (v_mode <> 'replace' and same[v_row.n]);
          v_old_size := case when v_job.id is not null then v_job.bytes
            else octet_length((v_out[v_count] -> 'payload')::text) end;
          if v_size > v_old_size and v_bytes + v_size - v_old_size > v_row.max_bytes then
            problems[v_row.n] := 'HW040';
            exit decide;
          end if;
          v_bytes := v_bytes + coalesce(v_size - v_old_size, 0);
          if v_job.id is null then
            v_out[v_count] := case when v_mode = 'replace' then v_row.j
              else (v_row.j - '{delay_ms,run_at}'::text[]) || (
                select coalesce(jsonb_object_agg(k, v), '{}') from jsonb_each(v_out[v_count]) f (k, v)
                where k in ('delay_ms', 'run_at')) end;
          else
            perform supersede(v_job, v_row.j, case when v_mode = 'replace' then v_run_at end, p_now,
              p_ring);
          end if;
          update dedupes set digest = v_digest,
            expires_at = case when v_mode = 'throttle' then expires_at
              else greatest(expires_at, key_until(v_row.j, v_row.delay_ms, p_now)) end
          where queue_id = v_queue_id and key = v_row.key;
          exit decide;
        end if;
      end if;

      -- a new job: is there room, or can there be?
      if v_row.is_bounded then
        v_over := greatest(v_depth + 1 - v_row.max_depth, 0);
        v_over_bytes := greatest(v_bytes + v_size - v_row.max_bytes, 0);
        if (v_over > 0 or v_over_bytes > 0) and v_row.j ->> 'on_full' = 'drop_oldest'
          and v_size <= v_row.max_bytes is not false then
          v_freed := drop_oldest(v_queue_id, v_over, v_over_bytes, v_may_drop, p_ring);
          left_groups := left_groups || v_freed.left_groups;
          v_may_drop := v_may_drop - v_freed.dropped;
          v_depth := v_depth - v_freed.dropped;
          v_bytes := v_bytes - v_freed.bytes;
          v_over := v_over - v_freed.dropped;
          v_over_bytes := v_over_bytes - v_freed.bytes;
        end if;
        if v_over > 0 or v_over_bytes > 0 then
          problems[v_row.n] := 'HW040';
          exit decide;
        end if;
        v_depth := v_depth + 1;
        v_bytes := v_bytes + v_size;
      end if;

      if v_row.key is not null and not v_is_new then
        insert into dedupes as d (queue_id, key, job_id, digest, expires_at)
        values (v_queue_id, v_row.key, p_ids[v_row.n], v_digest,
          key_until(v_row.j, v_row.delay_ms, p_now))
        on conflict (queue_id, key) do update set job_id = excluded.job_id,
          digest = excluded.digest, expires_at = excluded.expires_at
        where d.expires_at <= p_now or d.job_id = v_old.job_id;
        if not found then
          raise exception 'the dedupe key of job % changes hands too often', v_row.n
            using errcode = '40001', hint = 'try again';
        end if;
      end if;
      v_count := v_count + 1;
      v_out[v_count] := v_row.j;
      ids[v_count] := p_ids[v_row.n];
      after_ids[v_count] := null;
      created[v_row.n] := true;
      if v_row.key is not null and (v_mode = 'latest' or v_old.job_id = v_locked.spared[width_bucket(v_old.job_id, v_locked.spared)])
        and is_pending(v_old.job_id) then
        -- scheduled, so that promote() lets it go when the job before it is over
        after_ids[v_count] := v_old.job_id;
        v_out[v_count] := case when v_run_at > p_now + interval '50 milliseconds' then v_row.j
          else (v_row.j - 'run_at') || '{"delay_ms": 50}' end;
      end if;
    end decide;

    if problems[v_row.n] is not null then
      answer_ids[v_row.n] := null;
      created[v_row.n] := false;
      same[v_row.n] := null;
      if problems[v_row.n] = 'HW040' then
        details[v_row.n] := full_details(v_queue_id, v_depth, v_bytes, v_size,
          v_row.max_depth, v_row.max_bytes);
      end if;
      if p_on_error is distinct from 'report' then
        v_text := describe_problem(problems[v_row.n], v_row.j, details[v_row.n]);
        raise exception '%', v_text.message || case when cardinality(p_ids) > 1
          then format(' (job %s of %s)', v_row.n, cardinality(p_ids)) else '' end
          using errcode = problems[v_row.n], hint = v_text.hint, detail = details[v_row.n]::text;
      end if;
      if v_is_new then
        delete from dedupes d where d.queue_id = v_queue_id and d.key = v_row.key;
      end if;
    end if;
  end loop;
  jobs := to_jsonb(v_out);
end $$;

-- What a refusal by a bound carries.
create function {{schema}}.full_details(
  p_queue_id integer, p_depth bigint, p_bytes bigint, p_size bigint, p_max_depth integer,
  p_max_bytes bigint
) returns jsonb
language sql volatile security definer {{settings}} as $$
  select jsonb_build_object('unit', unit, 'depth', p_depth, 'bytes', p_bytes,
    'bound', case unit when 'jobs' then p_max_depth else p_max_bytes end,
    'retry_after_ms', retry_after_ms(p_queue_id, case unit when 'jobs' then p_depth + 1 - p_max_depth
      else (p_bytes + p_size - p_max_bytes) * p_depth / greatest(p_bytes, 1)::float8 end))
  from (select case when p_depth >= p_max_depth then 'jobs' else 'bytes' end as unit) u
$$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.full_details(integer, bigint, bigint, bigint, integer, bigint);
drop function {{schema}}.pass_gate(jsonb, bigint[], text[], timestamptz, text, boolean);
drop function {{schema}}.lock_keys(jsonb, bigint[], text[], timestamptz);
drop function {{schema}}.has_room(integer, bigint, integer, bigint);
drop function {{schema}}.key_until(jsonb, bigint, timestamptz);
drop function {{schema}}.is_wanted(bigint);
drop function {{schema}}.supersede({{schema}}.jobs, jsonb, timestamptz, timestamptz, boolean);
drop function {{schema}}.drop_oldest(integer, bigint, bigint, integer, boolean);
drop function {{schema}}.oldest_ready(integer, bigint, bigint, integer, bigint[]);
drop function {{schema}}.retry_after_ms(integer, double precision);
drop function {{schema}}.begin_counting(integer);
drop function {{schema}}.fold_deltas(integer);
drop function {{schema}}.waiting_in(integer);
drop function {{schema}}.prune_dedupes(integer);
drop table {{schema}}.dedupes;
