-- Late commits: numbers are drawn in one order and committed in another. Floors say up to where nothing can be
-- ready any more; lanes are found by leaps over the claim index; what was committed behind a cursor is found by the sweep.

-- Up Migration

-- No job of this lane with a seq up to it is ready, nor will be: what begins without a cursor begins here, and
-- does not walk over the entries of finished jobs, which a held snapshot keeps from being vacuumed. Whatever
-- makes a job ready draws a new number. Raised by sweep(), a thousand at least at a time.
-- Of many jobs that were committed behind the cursors, sweep() makes claims begin before them: at rewind_seq at the
-- latest, as long as it stands there. swept_seq: where it looks next, where more lies behind the cursors than one call walks over.
create table {{schema}}._lane_floors (
  queue_id integer not null,
  lane     smallint not null,
  seq      bigint not null,
  rewind_seq bigint,
  swept_seq  bigint,
  constraint lane_floors_pkey primary key (queue_id, lane)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

create function {{schema}}._lane_floor(p_queue_id integer, p_lane smallint) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce((select seq from _lane_floors where queue_id = p_queue_id and lane = p_lane), 0)
$$;

-- Lanes are written down nowhere: whoever is the first to use a priority would hold a row that all need. They are
-- found by leaps over the claim index. Where a leap begins in a lane: at the caller's cursor, or at its floor, so
-- that it does not walk over what is finished. Lanes of which neither is known have few such entries.
-- p_lanes and p_after: cursors, as for claim_many(); p_last: the last number of job_seq, beyond which they mean nothing.
-- No SET clause here and below: they are called by functions that have it.
create function {{schema}}._lane_starts(
  p_queue_id integer, p_lanes smallint[], p_after bigint[], p_last bigint,
  out lanes smallint[], out starts bigint[]
)
language plpgsql stable as $$
begin
  select array_agg(k.lane order by k.lane), array_agg(k.start order by k.lane) into lanes, starts from (
    select x.lane, greatest(max(x.floor), case when max(x.cursor) > 0
      then least(max(x.cursor), max(x.rewind)) else 0 end) as start
    from (
      select f.lane, f.seq as floor, null::bigint as cursor, f.rewind_seq as rewind
      from {{schema}}._lane_floors f where f.queue_id = p_queue_id and f.seq <= p_last
      union all
      select c.lane, null, c.seq, null from unnest(p_lanes, p_after) c (lane, seq)
      where c.lane < 32767 and c.seq <= p_last
    ) x
    group by x.lane
  ) k;
  lanes := lanes || 32767::smallint;  -- parked jobs, which are not for claims
end $$;

-- The first lane above p_from in which a job is ready, and where to begin in it; null: there is none.
create function {{schema}}._next_lane(
  p_queue_id integer, p_lanes smallint[], p_starts bigint[], p_from smallint,
  out lane smallint, out start bigint
)
language plpgsql stable as $$
begin
  select r.lane, coalesce(case when r.lane = k.lane then k.start end, 0) into lane, start
  from unnest(p_lanes, p_starts) with ordinality k (lane, start, n)
  cross join lateral (
    -- between the known lane before and this one, then in this one: the second only if the first finds nothing
    (select j.lane from {{schema}}._jobs j
    where j.queue_id = p_queue_id and j.seq is not null and j.lease_id is null
      and j.lane > greatest(p_from, p_lanes[k.n - 1]) and j.lane < k.lane
    order by j.lane, j.seq limit 1)
    union all
    (select j.lane from {{schema}}._jobs j
    where j.queue_id = p_queue_id and j.seq is not null and j.lease_id is null
      and j.lane = k.lane and j.seq > k.start
    order by j.seq limit 1)
  ) r
  where k.lane > p_from limit 1;
end $$;

-- All lanes in which jobs are ready, in the order they are served: for whatever is not the hot path.
create function {{schema}}.ready_lanes(
  p_queue_id integer, p_lanes smallint[] default '{}', p_after bigint[] default '{}'
) returns table (lane smallint, start bigint)
language plpgsql stable security definer {{settings}} as $$
declare
  v_known record;
  v_from smallint := -32768;
begin
  select * into v_known from _lane_starts(p_queue_id, p_lanes, p_after, (select last_value from job_seq));
  loop
    select * into lane, start from _next_lane(p_queue_id, v_known.lanes, v_known.starts, v_from);
    exit when lane is null;
    return next;
    v_from := lane;
  end loop;
end $$;

-- How far the numbers of job_seq are decided: a job that has one is committed, or will never be.
create table {{schema}}._seq_horizon (
  is_only boolean constraint seq_horizon_pkey primary key default true,
  decided bigint not null default 0,
  pending bigint,                             -- decided as soon as these transactions have ended
  holders text[] not null default '{}',
  constraint seq_horizon_is_only_check check (is_only)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

insert into {{schema}}._seq_horizon default values;

-- Up to which number of job_seq all is decided. p_last: the last that was drawn, read before this is called. Who
-- draws a number holds a lock on the sequence until its transaction ends, and lets go when its rows can be
-- seen: so all is decided once those that held it then hold it no more.
create function {{schema}}._decide_numbers(p_last bigint) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_horizon _seq_horizon;
  v_holders text[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    return 0;  -- an older snapshot does not show who has ended meanwhile
  end if;
  select * into v_horizon from _seq_horizon for update;
  if v_horizon.decided > p_last then
    -- a failover or a restore has set the sequence back
    delete from _lane_floors where seq > p_last;
    update _seq_horizon set decided = 0, pending = null, holders = '{}';
    return 0;
  end if;
  if p_last - v_horizon.decided < 1000 then
    return v_horizon.decided;
  end if;
  v_holders := array(
    select l.virtualtransaction from pg_locks l
    where l.locktype = 'relation' and l.relation = 'job_seq'::regclass
      and l.mode = 'RowExclusiveLock'
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
  );
  if v_horizon.pending is null or v_horizon.pending > p_last then
    v_horizon.pending := p_last;
  -- a prepared transaction goes by another name than before
  elsif v_horizon.holders && v_holders or exists (select from unnest(v_holders) h where h like '-1/%') then
    return v_horizon.decided;
  else
    v_horizon.decided := v_horizon.pending;
    v_horizon.pending := p_last;
  end if;
  if v_holders = '{}' then
    v_horizon.decided := p_last;
    v_horizon.pending := null;
  end if;
  update _seq_horizon set decided = v_horizon.decided, pending = v_horizon.pending, holders = v_holders;
  return v_horizon.decided;
end $$;

-- Raises the floor of a lane to what is decided, or to the first job that is ready. Running jobs do not
-- matter: when they return, they draw a new number. Returns the floor.
create function {{schema}}._raise_floor(p_queue_id integer, p_lane smallint, p_decided bigint)
returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_floor bigint := _lane_floor(p_queue_id, p_lane);
  v_to bigint := p_decided;
begin
  if p_decided - v_floor < 1000 then
    return v_floor;
  end if;
  select j.seq - 1 into v_to from _jobs j
  where j.queue_id = p_queue_id and j.lane = p_lane and j.seq is not null and j.seq > v_floor
    and j.seq <= p_decided and j.lease_id is null
  order by j.seq limit 1;
  v_to := coalesce(v_to, p_decided);
  if v_to - v_floor >= 1000 then
    insert into _lane_floors as f (queue_id, lane, seq) values (p_queue_id, p_lane, v_to)
    on conflict (queue_id, lane) do update set seq = greatest(f.seq, excluded.seq)
    returning seq into v_floor;
  end if;
  return v_floor;
end $$;

-- For sweep(): which numbers of a lane are looked at, between its floor and what the cursors have passed: the last
-- p_window, and above low up to high. Where claims begin before late jobs: all from there.
create function {{schema}}._look_behind(
  p_queue_id integer, p_lane smallint, p_floor bigint, p_passed bigint, p_window bigint,
  out low bigint, out high bigint, out tail bigint, out rewind_seq bigint
)
language plpgsql security definer {{settings}} as $$
declare
  v_swept bigint;
begin
  select f.rewind_seq, f.swept_seq into rewind_seq, v_swept from _lane_floors f
  where f.queue_id = p_queue_id and f.lane = p_lane;
  tail := greatest(p_floor, p_passed - p_window);
  if rewind_seq is not null then
    low := greatest(p_floor, rewind_seq);
    high := p_passed;
    tail := p_passed;
    return;
  end if;
  low := case when v_swept > p_floor and v_swept < tail then v_swept else p_floor end;
  high := least(low + p_window, tail);
  if high < tail or v_swept is not null then
    insert into _lane_floors as f (queue_id, lane, seq, swept_seq)
    values (p_queue_id, p_lane, p_floor, high)
    on conflict (queue_id, lane) do update set swept_seq = case when high < tail then high end;
  end if;
end $$;

-- Down Migration

drop function {{schema}}._look_behind(integer, smallint, bigint, bigint, bigint);
drop function {{schema}}._raise_floor(integer, smallint, bigint);
drop function {{schema}}._decide_numbers(bigint);
drop table {{schema}}._seq_horizon;
drop function {{schema}}.ready_lanes(integer, smallint[], bigint[]);
drop function {{schema}}._next_lane(integer, smallint[], bigint[], smallint);
drop function {{schema}}._lane_starts(integer, smallint[], bigint[], bigint);
drop function {{schema}}._lane_floor(integer, smallint);
drop table {{schema}}._lane_floors;
