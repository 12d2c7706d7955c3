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
    select d.ctid from dedupes d where d.expires_at < clock()
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

-- Ends ready jobs until that many jobs and bytes have left: those claimed last of all (lowest priority),
-- the oldest of them first; the history has them as discarded. Scheduled ones stay.
create function {{schema}}.drop_oldest(
  p_queue_id integer, p_count bigint, p_bytes bigint, out dropped bigint, out bytes bigint
)
language plpgsql security definer {{settings}} as $$
declare
  v_lane smallint;
  v_after bigint;
  v_job jobs;
  v_left groups[] := '{}';
begin
  dropped := 0;
  bytes := 0;
  for v_lane in
    select r.lane from ready_lanes(p_queue_id) r order by r.lane desc
  loop
    v_after := lane_floor(p_queue_id, v_lane);
    while (dropped < p_count or bytes < p_bytes) and dropped < 10000 loop
      select * into v_job from jobs j
      where j.queue_id = p_queue_id and j.lane = v_lane and j.seq is not null and j.seq > v_after
        and j.lease_id is null
      order by j.seq limit 1 for update skip locked;
      exit when not found;
      perform finish(v_job, 'discarded', 'dropped: the queue was full');
      v_left := v_left || left_group(v_job);
      v_after := v_job.seq;
      dropped := dropped + 1;
      bytes := bytes + coalesce(v_job.bytes, 0);
    end loop;
  end loop;
  perform change_groups(v_left);
end $$;

-- Gives a waiting job the payload and headers of a newer one, and its time unless p_run_at is null. The
-- caller holds the row's lock. A ready job without a new time keeps its place; so does a member of a group
-- always, for its group gives it its turn.
create function {{schema}}.supersede(
  p_job {{schema}}.jobs, p_new jsonb, p_run_at timestamptz, p_now timestamptz, p_ring boolean
) returns void
language plpgsql security definer {{settings}} as $$
declare
  -- null: it keeps its time
  v_run_at timestamptz := case when p_run_at is not null and p_job.group_key is null
    then greatest(p_run_at, p_now) end;
  v_is_scheduled boolean := case
    when v_run_at is null then p_job.seq is null
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
  elsif p_ring and not v_is_scheduled and p_job.seq is null then
    perform ring_queue(p_job.queue_id, 1, 0);
  end if;
end $$;

-- Decides about the jobs that enqueue() has marked with the problem 'gate'; p_ids are the ids it has
-- drawn for them. jobs, ids, after_ids: what is to be inserted. The other arrays answer job by job.
-- Lock order: dedupe keys by (queue, key), then the waiting job of the key, so that two statements on the
-- same keys wait for each other and never in a circle. A key locked before jobs is safe because neither a
-- claim nor a settle asks for a key.
create function {{schema}}.pass_gate(
  p_jobs jsonb, p_ids bigint[], p_problems text[], p_now timestamptz, p_on_error text,
  p_ring boolean, out jobs jsonb, out ids bigint[], out after_ids bigint[], out answer_ids bigint[],
  out created boolean[], out problems text[], out same boolean[], out details jsonb[]
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_variable
declare
  v_row record;
  v_out jsonb[] := '{}';
  v_count integer := 0;   -- of v_out
  v_queue_id integer;
  v_depth bigint;         -- what waits in the queue, once this statement is done
  v_bytes bigint;
  v_deltas integer;
  v_freed record;
  v_mode text;
  v_size bigint;
  v_over bigint;
  v_over_bytes bigint;
  v_digest bytea;
  v_run_at timestamptz;
  v_expires_at timestamptz;
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
  for v_row in
    select e.n::integer as n, e.j, q.id as queue_id, q.max_depth, q.max_bytes, q.closed_at,
      q.closed_reason, q.delay_ms, e.j #>> '{dedupe,key}' as key
    from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    join queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
    where p_problems[e.n] = 'gate'
    order by q.id, e.j #>> '{dedupe,key}' collate "C" nulls first, e.n
  loop
    if v_row.queue_id is distinct from v_queue_id then
      v_queue_id := v_row.queue_id;
      if v_row.max_depth is not null or v_row.max_bytes is not null then
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
    if v_row.closed_at is not null then
      problems[v_row.n] := 'HW041';
      details[v_row.n] := jsonb_strip_nulls(jsonb_build_object('reason', v_row.closed_reason,
        'closed_at', v_row.closed_at));
    end if;

    -- at most as often as others take and lose the key at this very moment
    for v_try in 1 .. 100 loop
      exit when problems[v_row.n] is not null;
      if v_row.key is not null then
        v_mode := coalesce(v_row.j #>> '{dedupe,mode}', 'skip');
        v_digest := sha256(convert_to((v_row.j -> 'payload')::text, 'UTF8'));
        if v_mode = 'skip' then
          select * into v_old from dedupes d
          where d.queue_id = v_queue_id and d.key = v_row.key and d.expires_at > p_now;
        else
          select * into v_old from dedupes d
          where d.queue_id = v_queue_id and d.key = v_row.key and d.expires_at > p_now for update;
        end if;
        v_run_at := run_at_of(v_row.j, v_row.delay_ms, p_now);
        v_expires_at := case when v_mode = 'skip' then p_now else greatest(v_run_at, p_now) end
          + coalesce((v_row.j #>> '{dedupe,window_ms}')::float8, 300000) * interval '1 millisecond';
        v_job := null;
        if v_old.job_id is not null and v_mode <> 'skip' and v_old.job_id <> all (ids) then
          select * into v_job from jobs j
          where j.id = v_old.job_id and j.lease_id is null and j.dead_at is null for update;
        end if;
        if v_old.job_id is not null
          and (v_mode = 'skip' or v_job.id is not null or v_old.job_id = any (ids)) then
          answer_ids[v_row.n] := v_old.job_id;
          created[v_row.n] := false;
          same[v_row.n] := v_old.digest = v_digest;
          exit when v_mode = 'skip' or (v_mode <> 'replace' and same[v_row.n]);
          if v_job.id is null then
            -- inserted by this very statement: keys come together, so it is the last one
            v_out[v_count] := case when v_mode = 'replace' then v_row.j
              else (v_row.j - '{delay_ms,run_at}'::text[]) || (
                select coalesce(jsonb_object_agg(k, v), '{}') from jsonb_each(v_out[v_count]) f (k, v)
                where k in ('delay_ms', 'run_at')) end;
          else
            v_over_bytes := v_bytes + v_size - v_job.bytes - v_row.max_bytes;
            if v_size > v_job.bytes and v_over_bytes > 0 then
              problems[v_row.n] := 'HW040';
              exit;
            end if;
            perform supersede(v_job, v_row.j, case when v_mode = 'replace' then v_run_at end, p_now,
              p_ring);
          end if;
          update dedupes set digest = v_digest,
            expires_at = case when v_mode = 'throttle' then expires_at
              else greatest(expires_at, v_expires_at) end
          where queue_id = v_queue_id and key = v_row.key;
          exit;
        end if;
      end if;

      -- a new job: is there room?
      if v_row.max_depth is not null or v_row.max_bytes is not null then
        v_over := greatest(v_depth + 1 - v_row.max_depth, 0);
        v_over_bytes := greatest(v_bytes + v_size - v_row.max_bytes, 0);
        if (v_over > 0 or v_over_bytes > 0) and v_row.j ->> 'on_full' = 'drop_oldest'
          and v_size <= v_row.max_bytes is not false then
          v_freed := drop_oldest(v_queue_id, v_over, v_over_bytes);
          v_depth := v_depth - v_freed.dropped;
          v_bytes := v_bytes - v_freed.bytes;
          v_over := v_over - v_freed.dropped;
          v_over_bytes := v_over_bytes - v_freed.bytes;
        end if;
        if v_over > 0 or v_over_bytes > 0 then
          problems[v_row.n] := 'HW040';
          exit;
        end if;
      end if;

      if v_row.key is not null then
        insert into dedupes as d (queue_id, key, job_id, digest, expires_at)
        values (v_queue_id, v_row.key, p_ids[v_row.n], v_digest, v_expires_at)
        on conflict (queue_id, key) do update set job_id = excluded.job_id,
          digest = excluded.digest, expires_at = excluded.expires_at
        -- its window has ended, or its job waits no more; else another session was first
        where d.expires_at <= p_now or d.job_id = v_old.job_id;
        continue when not found;
      end if;
      v_count := v_count + 1;
      v_out[v_count] := v_row.j;
      ids[v_count] := p_ids[v_row.n];
      after_ids[v_count] := null;
      created[v_row.n] := true;
      if v_row.key is not null and v_mode = 'latest' and v_old.job_id is not null
        and exists (select from jobs j where j.id = v_old.job_id and j.dead_at is null) then
        -- scheduled, so that promote() lets it go when the job before it is over
        after_ids[v_count] := v_old.job_id;
        v_out[v_count] := case when v_run_at > p_now + interval '50 milliseconds' then v_row.j
          else (v_row.j - 'run_at') || '{"delay_ms": 50}' end;
      end if;
      if v_row.max_depth is not null or v_row.max_bytes is not null then
        v_depth := v_depth + 1;
        v_bytes := v_bytes + v_size;
      end if;
      exit;
    end loop;

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
    elsif answer_ids[v_row.n] is null or (created[v_row.n] and ids[v_count] <> p_ids[v_row.n]) then
      raise exception 'the dedupe key of job % changes hands too often', v_row.n
        using errcode = '40001', hint = 'try again';
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
drop function {{schema}}.supersede({{schema}}.jobs, jsonb, timestamptz, timestamptz, boolean);
drop function {{schema}}.drop_oldest(integer, bigint, bigint);
drop function {{schema}}.retry_after_ms(integer, double precision);
drop function {{schema}}.begin_counting(integer);
drop function {{schema}}.fold_deltas(integer);
drop function {{schema}}.waiting_in(integer);
drop function {{schema}}.prune_dedupes(integer);
drop table {{schema}}.dedupes;
