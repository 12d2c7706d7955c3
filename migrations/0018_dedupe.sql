-- Dedupe keys: one job per key and window, and what a second one does: skip, replace, throttle, latest.

-- Up Migration

-- Admission: which of the jobs that enqueue() was given are inserted. Dedupe keys, bounded queues and
-- queues that are closed to new jobs. Jobs of none of these never come here.



-- Remembers a key longer than its job lives. digest: of the payload that the job carries, or carried.
create table {{schema}}._dedupes (
  queue_id   integer not null,
  key        text not null,
  job_id     bigint not null,
  digest     bytea not null,
  expires_at timestamptz not null,
  constraint dedupes_pkey primary key (queue_id, key)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index dedupes_expires_idx on {{schema}}._dedupes (expires_at);

create function {{schema}}.prune_dedupes(p_limit integer default 10000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_pruned integer;
begin
  delete from _dedupes where ctid = any (array(
    select d.ctid from _dedupes d where d.expires_at < (select clock())
    order by d.expires_at limit least(greatest(p_limit, 0), 100000) for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- Gives a waiting job the payload and headers of a newer one, and its time unless p_run_at is null. The
-- caller holds the row's lock. A ready job without a new time keeps its place; so does a member of a group
-- always, for its group gives it its turn.
create function {{schema}}._supersede(
  p_job {{schema}}._jobs, p_new jsonb, p_run_at timestamptz, p_now timestamptz, p_ring boolean
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
      or coalesce(p_job.run_at > p_now, true) or _is_pending(p_job.after_id))
    -- what waits for another job of its key stays scheduled until that is over
    else v_run_at > p_now or p_job.seq is null and _is_pending(p_job.after_id) end;
  v_bytes integer := case when p_job.bytes is not null
    then octet_length((p_new -> 'payload')::text) end;
  v_seq bigint := p_job.seq;
begin
  if v_is_scheduled then
    v_seq := null;
  elsif v_seq is null then
    v_seq := nextval('job_seq');
  end if;
  update _jobs set payload = p_new -> 'payload', headers = nullif(p_new -> 'headers', 'null'),
    bytes = v_bytes, seq = v_seq,
    run_at = coalesce(v_run_at, run_at),
    -- the waiting TTL goes with the time; greatest() would pass over a null
    expires_at = expires_at + coalesce(v_run_at - greatest(run_at, enqueued_at), interval '0')
  where id = p_job.id;
  insert into _counter_deltas (queue_id, ready, scheduled, bytes)
  select p_job.queue_id, (p_job.seq is null)::integer - v_is_scheduled::integer,
    v_is_scheduled::integer - (p_job.seq is null)::integer, v_bytes - p_job.bytes
  where v_is_scheduled <> (p_job.seq is null) or v_bytes <> p_job.bytes;
  if p_ring and v_is_scheduled and v_run_at is not null then
    perform _ring_promoter(v_run_at);
  elsif p_ring and not v_is_scheduled then
    -- also one that was ready: a claim may have met it locked
    perform _ring_queue(p_job.queue_id, 1, 0);
  end if;
end $$;

-- Whether a job that waits should have begun by now: it is due, and a worker sleeps for want of a job. Claims
-- and promote() pass over a row that is locked, so whoever would change it leaves it alone then, where others
-- change it too: it would be locked for ever.
create function {{schema}}._is_wanted(p_id bigint) returns boolean
language sql stable security definer {{settings}} as $$
  select exists (
    select from _jobs j join _queues q on q.id = j.queue_id
    where j.id = p_id and j.lease_id is null and j.dead_at is null and j.group_seq is null
      and (j.seq is not null or j.run_at <= clock() and not _is_pending(j.after_id))
      and (q.paused_at is null or q.paused_until <= clock())
      -- who does not say that he sleeps may come seldom
      and greatest(j.enqueued_at, j.run_at) < clock() - case
        when exists (select from _sleepers s where s.queue_id = j.queue_id)
          then interval '250 milliseconds' else interval '10 seconds' end)
$$;

-- Until when a key is remembered that this job takes.
create function {{schema}}._key_until(p_job jsonb, p_delay_ms bigint, p_now timestamptz)
returns timestamptz
language sql stable security definer {{settings}} as $$
  select case when coalesce(p_job #>> '{dedupe,mode}', 'skip') = 'skip' then p_now
      else greatest(_run_at_of(p_job, p_delay_ms, p_now), p_now) end
    + coalesce((p_job #>> '{dedupe,window_ms}')::float8, 300000) * interval '1 millisecond'
$$;

-- Takes all dedupe keys of the jobs at the gate, in order, and then locks what of their jobs waits: those that
-- are not blocked by id, then the groups of the blocked ones with all those that this statement joins, by key, then
-- those. A new key is written as the first of its jobs will have it: whoever refuses that deletes it.
-- mine: the waiting jobs that are locked. spared: those that are left alone, see _is_wanted(); they count
-- as begun, and so do others that are not in mine. Both are sorted. held: a change for each group that was locked, of nothing.
create function {{schema}}._lock_keys(
  p_jobs jsonb, p_ids bigint[], p_problems text[], p_now timestamptz,
  out mine bigint[], out spared bigint[], out held {{schema}}._groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_key record;
  v_job jsonb;
  v_old _dedupes;
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
    ) k join _queues q on q.name = k.queue and q.deleted_at is null and q.closed_at is null
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
        select * into v_old from _dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now;
      elsif v_try = 1 then
        select * into v_old from _dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now
        for update skip locked;
      else
        select * into v_old from _dedupes d
        where d.queue_id = v_key.queue_id and d.key = v_key.key and d.expires_at > p_now for update;
      end if;
      exit when v_old.job_id is not null;
      insert into _dedupes as d (queue_id, key, job_id, digest, expires_at)
      values (v_key.queue_id, v_key.key, p_ids[v_key.n],
        sha256(convert_to((v_job -> 'payload')::text, 'UTF8')),
        _key_until(v_job, v_key.delay_ms, p_now))
      on conflict (queue_id, key) do update set job_id = excluded.job_id, digest = excluded.digest,
        expires_at = excluded.expires_at
      where d.expires_at <= p_now;  -- its window has ended; else another session was first
      exit when found;
      v_is_contended := true;
    end loop;
    if v_key.changes and v_old.job_id is not null then
      if v_is_contended and _is_wanted(v_old.job_id) and _has_room(v_key.queue_id,
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
    select j.id from _jobs j
    where j.id = any (v_waiting) and j.lease_id is null and j.dead_at is null and j.group_seq is null
    order by j.id for update);
  v_blocked := array(
    select j.id from _jobs j
    where j.id in (select unnest(v_waiting) except select unnest(mine)) and j.lease_id is null and j.dead_at is null);
  if v_blocked = '{}' then
    return;
  end if;
  for v_group in
    select j.queue_id, j.group_key as key from _jobs j
    where j.id = any (v_blocked) and j.group_key is not null
    union
    select q.id, (e.j ->> 'group') collate "C" from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    join _queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
    where e.j ->> 'group' is not null and p_ids[e.n] is not null
    order by 1, 2
  loop
    -- one that is new goes again with the change of nothing, unless somebody joins
    insert into _groups as g (queue_id, key, admitted, waiting, mark)
    values (v_group.queue_id, v_group.key, 0, 0, 9223372036854775807)
    on conflict (queue_id, key) do update set waiting = g.waiting;
    held := held || (v_group.queue_id, v_group.key, 0, 0, null, null, null)::_groups;
  end loop;
  mine := mine || array(
    select j.id from _jobs j
    where j.id = any (v_blocked) and j.lease_id is null and j.dead_at is null
    -- one that was admitted meanwhile may be claimed this very moment
    for update skip locked);
  mine := array(select u from unnest(mine) u order by u);
end $$;

-- Down Migration

drop function {{schema}}._lock_keys(jsonb, bigint[], text[], timestamptz);
drop function {{schema}}._key_until(jsonb, bigint, timestamptz);
drop function {{schema}}._is_wanted(bigint);
drop function {{schema}}._supersede({{schema}}._jobs, jsonb, timestamptz, timestamptz, boolean);
drop function {{schema}}.prune_dedupes(integer);
drop table {{schema}}._dedupes;
