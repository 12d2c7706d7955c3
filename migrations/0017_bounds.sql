-- Bounds of what waits in a queue: refuse, or make room by dropping the oldest.

-- Up Migration

-- When p_excess jobs will have left, as fast as jobs have ended lately: 50 ms to 30 s. 1 s: nobody knows.
create function {{schema}}._retry_after_ms(p_queue_id integer, p_excess double precision)
returns integer
language sql volatile security definer {{settings}} as $$
  select coalesce((
    select least(greatest(p_excess * 1000
      / greatest(_smoothed_rate(rate, 0, rated_at, clock()), 0.001), 50), 30000)::integer
    from _counters where queue_id = p_queue_id), 1000)
$$;

-- Ready jobs that would have to end for so many jobs and bytes to leave: those claimed last of all (lowest
-- priority), the oldest of them first, without those in p_not. Null: there are not enough, or more than p_limit
-- would have to. Bytes are freed only by what is counted, which is what came since the queue has had a bound.
create function {{schema}}._oldest_ready(
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
    from _queues q, job_seq s where q.id = p_queue_id);
begin
  for v_pass in 1 .. 2 loop  -- counted ones for the bytes, then any
    for v_lane in
      select r.lane from ready_lanes(p_queue_id) r order by r.lane desc
    loop
      v_after := greatest(_lane_floor(p_queue_id, v_lane), case v_pass when 1 then v_from end);
      for v_job in
        select j.id, j.bytes from _jobs j
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
-- left_groups is for _change_groups().
create function {{schema}}._drop_oldest(
  p_queue_id integer, p_count bigint, p_bytes bigint, p_limit integer, p_ring boolean,
  out dropped bigint, out bytes bigint, out left_groups {{schema}}._groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_ids bigint[];
  v_mine bigint[];
  v_not bigint[] := '{}';
  v_job _jobs;
begin
  dropped := 0;
  bytes := 0;
  left_groups := '{}';
  for v_try in 1 .. 10 loop
    v_ids := _oldest_ready(p_queue_id, p_count, p_bytes, p_limit, v_not);
    v_mine := array(
      select j.id from _jobs j where j.id = any (v_ids) and j.lease_id is null and j.seq is not null
      for update skip locked);
    exit when v_ids is null or cardinality(v_mine) = cardinality(v_ids);
    v_not := v_not || array(select u from unnest(v_ids) u where u <> all (v_mine));
    v_ids := null;
  end loop;
  if v_ids is null then
    return;
  end if;
  for v_job in select * from _jobs j where j.id = any (v_ids) loop
    perform _finish(v_job, 'discarded', 'dropped: the queue was full', null, p_ring);
    left_groups := left_groups || _left_group(v_job);
    dropped := dropped + 1;
    bytes := bytes + coalesce(v_job.bytes, 0);
  end loop;
end $$;

-- Whether one more job of this size fits.
create function {{schema}}._has_room(
  p_queue_id integer, p_size bigint, p_max_depth integer, p_max_bytes bigint
) returns boolean
language sql volatile security definer {{settings}} as $$
  select coalesce(p_max_depth, p_max_bytes) is null or (
    select coalesce(w.depth < p_max_depth, true) and coalesce(w.bytes + p_size <= p_max_bytes, true)
    from _waiting_in(p_queue_id) w)
$$;

-- What a refusal by a bound carries.
create function {{schema}}._full_details(
  p_queue_id integer, p_depth bigint, p_bytes bigint, p_size bigint, p_max_depth integer,
  p_max_bytes bigint
) returns jsonb
language sql volatile security definer {{settings}} as $$
  select jsonb_build_object('unit', unit, 'depth', p_depth, 'bytes', p_bytes,
    'bound', case unit when 'jobs' then p_max_depth else p_max_bytes end,
    'retry_after_ms', _retry_after_ms(p_queue_id, case unit when 'jobs' then p_depth + 1 - p_max_depth
      else (p_bytes + p_size - p_max_bytes) * p_depth / greatest(p_bytes, 1)::float8 end))
  from (select case when p_depth >= p_max_depth then 'jobs' else 'bytes' end as unit) u
$$;

-- Down Migration

drop function {{schema}}._full_details(integer, bigint, bigint, bigint, integer, bigint);
drop function {{schema}}._has_room(integer, bigint, integer, bigint);
drop function {{schema}}._drop_oldest(integer, bigint, bigint, integer, boolean);
drop function {{schema}}._oldest_ready(integer, bigint, bigint, integer, bigint[]);
drop function {{schema}}._retry_after_ms(integer, double precision);
