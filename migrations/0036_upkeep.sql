-- Upkeep: each duty is one function, bounded in rows, safe to run twice and on two machines at once.
-- None waits longer than 100 ms for a row that an application's transaction may hold: what can be passed over
-- is, and what cannot has a time-out of its own; it is left to the next round, and the rest goes on.

-- Up Migration

-- Maintenance: each duty is one function, bounded in rows, safe to run twice and on two machines at once.
-- None waits longer than 100 ms for a row that an application's transaction may hold: what can be passed over
-- is, and what cannot has a time-out of its own; it is left to the next round, and the rest goes on.



-- Delayed jobs that are due become ready, and groups that somebody held when a member ended get on. p_after: where the last call stopped, so that entries
-- promoted since the last vacuum are not walked again; now and then a call starts at -infinity for
-- transactions that committed late. next_ms: until the next due job, null when there is none.
create function {{schema}}.promote(
  p_limit integer default 1000, p_after timestamptz default '-infinity'
) returns table (promoted integer, next_ms bigint, mark timestamptz)
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_ids bigint[];
  v_seqs bigint[];
  v_is_left boolean := (select f.is_left from _fold_groups(p_limit) f);
begin
  -- what was changed while its lock was sought comes with its new time: others before that were not looked at
  select array_agg(d.id order by d.run_at), max(d.run_at) filter (where exists (
    select from _jobs o where o.id = d.id and o.run_at = d.run_at)) into v_ids, mark from (
    select j.id, j.run_at from _jobs j
    where j.seq is null and j.run_at is not null and j.group_seq is null
      and j.run_at > p_after and j.run_at <= v_now
      and (j.after_id is null or not exists (
        select from _jobs p where p.id = j.after_id and p.dead_at is null))
    order by j.run_at limit least(greatest(p_limit, 1), 2000) for update of j skip locked
  ) d;
  promoted := coalesce(cardinality(v_ids), 0);
  mark := coalesce(mark, p_after);
  if promoted >= least(greatest(p_limit, 1), 2000) then
    mark := mark - interval '1 microsecond';  -- others may be due at the very same time
  end if;
  if promoted > 0 then
    -- drawn first, not in the UPDATE: distributed engines refuse nextval() there
    v_seqs := array(select nextval('job_seq') from generate_series(1, promoted));
    -- sorted, so that the place of an id is found by halving; (select v_ids) is copied once, not for each job
    select array_agg(u.id order by u.id), array_agg(u.seq order by u.id) into v_ids, v_seqs
    from unnest(v_ids, v_seqs) u (id, seq);
    with changed as (
      update _jobs j set seq = v_seqs[width_bucket(j.id, (select v_ids))] where j.id = any (v_ids)
      returning j.queue_id
    ), counted as (
      insert into _counter_deltas (queue_id, scheduled, ready)
      select queue_id, -count(*), count(*) from changed group by queue_id
      returning queue_id, ready
    )
    select null into v_ids from (select _ring_queue(queue_id, ready, 0) from counted) r;
  end if;
  next_ms := (
    select greatest(ceil(extract(epoch from j.run_at - clock()) * 1000), 0)::bigint from _jobs j
    where j.seq is null and j.run_at is not null and j.group_seq is null and j.run_at > mark
      and j.after_id is null
    order by j.run_at limit 1
  );
  if v_is_left then
    next_ms := least(next_ms, 100);  -- nobody says when a transaction has ended
  end if;
  return next;
end $$;

-- Sequences are not commit order: a transaction that drew a low seq may commit when every cursor has
-- passed it. Ready rows behind the cursors get a new seq; of a thousand or more the claims begin before them, which
-- costs nothing a row. At most 200 times p_limit numbers of a lane are walked over: the last ones every time, those
-- before in turn, for while a producer's transaction stays open no floor can rise. Floors of lanes are raised, and dedupe keys whose
-- window has ended go, too.
create function {{schema}}.sweep(p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_passed record;
  v_floor bigint;
  v_look record;
  v_late bigint[];
  v_window bigint := 100 * least(greatest(p_limit, 1), 2000);
  v_ids bigint[];
  v_seqs bigint[];
  v_total integer := 0;
  v_last bigint := (select last_value from job_seq);
  v_decided bigint;
begin
  -- one at a time: an operator's that stays open keeps nobody waiting
  perform 1 from _locks where id = 66 for update skip locked;
  if not found then
    return 0;
  end if;
  v_decided := _decide_numbers(v_last);
  for v_passed in
    select queue_id, lane, max(seen_seq) as seq, max(high_seq) as high from _lease_marks
    -- after a failover that set the sequence back, marks ahead of it say nothing
    where seen_seq <= v_last group by queue_id, lane order by queue_id, lane
  loop
    -- first, so that what is over is walked over once; not for ever in a lane where nothing is claimed
    v_floor := _raise_floor(v_passed.queue_id, v_passed.lane, least(v_decided, v_passed.high));
    v_look := _look_behind(v_passed.queue_id, v_passed.lane, v_floor, v_passed.seq, v_window);
    v_late := array(
      select x.seq from (
        select j.seq from _jobs j
        where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq is not null
          and j.seq > v_look.low and j.seq <= v_look.high and j.lease_id is null
        union all
        select j.seq from _jobs j
        where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq is not null
          and j.seq > v_look.tail and j.seq <= v_passed.seq and j.lease_id is null
      ) x
      order by x.seq limit case when v_look.rewind_seq is not null then 1000
        else least(greatest(p_limit - v_total, 0), 2000) end);
    if cardinality(v_late) >= 1000 or v_look.rewind_seq is not null then
      -- those that are few again get new numbers with the next call
      insert into _lane_floors as f (queue_id, lane, seq, rewind_seq)
      values (v_passed.queue_id, v_passed.lane, v_floor, v_late[1] - 1)
      on conflict (queue_id, lane) do update
      set rewind_seq = case when cardinality(v_late) >= 1000 then excluded.rewind_seq end;
      perform _ring_queue(v_passed.queue_id, cardinality(v_late), 0) where cardinality(v_late) > 0;
      v_total := v_total + cardinality(v_late);
      continue;
    end if;
    v_ids := array(
      select j.id from _jobs j
      where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq = any (v_late)
        and j.lease_id is null
      order by j.seq for update skip locked
    );
    if cardinality(v_ids) > 0 then
      v_seqs := array(select nextval('job_seq') from generate_series(1, cardinality(v_ids)));
      -- as in promote()
      select array_agg(u.id order by u.id), array_agg(u.seq order by u.id) into v_ids, v_seqs
      from unnest(v_ids, v_seqs) u (id, seq);
      update _jobs j set seq = v_seqs[width_bucket(j.id, (select v_ids))] where j.id = any (v_ids);
      perform _ring_queue(v_passed.queue_id, cardinality(v_ids), 0);
      v_total := v_total + cardinality(v_ids);
    end if;
  end loop;
  perform prune_dedupes(10 * least(greatest(p_limit, 0), 2000));
  perform _prune_group_rates(10 * least(greatest(p_limit, 0), 2000));
  perform prune_reports(p_limit);
  return v_total;
end $$;

-- Waiting jobs whose TTL has ended are recorded as expired. It waits for no lock: what others hold is
-- left to the next call. A blocked job is locked after its group, as everywhere; of blocked ones it looks
-- at the oldest, and from a time drawn at random, so that those of groups which are held for long hide no others.
create function {{schema}}.expire(p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
declare
  v_job _jobs;
  v_left _groups[] := '{}';
  v_total integer := 0;
  v_limit integer := least(greatest(p_limit, 0), 10000);
  v_now timestamptz := clock();
  v_first timestamptz;
  v_from timestamptz;
  v_looked integer;
begin
  for v_job in
    select * from _jobs j where j.expires_at is not null and j.expires_at < v_now
      and j.lease_id is null and j.group_seq is null
    order by j.expires_at limit v_limit for update skip locked
  loop
    perform _finish(v_job, 'expired', 'waiting TTL');
    v_left := v_left || _left_group(v_job);
    v_total := v_total + 1;
  end loop;
  for v_round in 1 .. 2 loop
    exit when v_total >= v_limit;
    v_looked := 0;
    for v_job in
      -- said so that the index of blocked jobs does not fit: all of them would be read
      select * from _jobs j where j.expires_at is not null and j.expires_at < v_now
        and coalesce(j.group_seq, 0) <> 0 and (v_from is null or j.expires_at >= v_from)
      order by j.expires_at limit 2 * v_limit
    loop
      v_looked := v_looked + 1;
      v_first := coalesce(v_first, v_job.expires_at);
      continue when not _try_group(v_job);
      select * into v_job from _jobs j where j.id = v_job.id and j.group_seq is not null
      for update skip locked;
      continue when not found;
      perform _finish(v_job, 'expired', 'waiting TTL');
      v_left := v_left || _left_group(v_job);
      v_total := v_total + 1;
      exit when v_total >= v_limit;
    end loop;
    exit when v_looked < 2 * v_limit;
    v_from := v_first + random() * (v_now - v_first);
  end loop;
  perform _change_groups(v_left);
  return v_total;
end $$;

-- Which duties have something to do: one statement for who does nothing else while there is nothing to do. It
-- locks and writes nothing. A row for each of p_duties (null: all) that has, or will have: in_ms, until then. No look
-- is a long one: where many rows would have to be read that say nothing, the duty is due. p_rolled as in roll_up().
create function {{schema}}.upkeep_due(p_duties text[] default null, p_rolled bigint default 0)
returns table (duty text, in_ms bigint)
language plpgsql stable security definer {{settings}} set lock_timeout = '100ms' as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_last bigint := (select last_value from job_seq);
  v_from bigint := trunc(random() * 9223372036854774784)::bigint;
  v_is_due boolean;
  v_at timestamptz;
begin
  foreach duty in array coalesce(p_duties, array[
    'promote', 'schedule', 'reap', 'sweep', 'expire', 'roll-up', 'tend', 'fold-batches'])
  loop
    v_is_due := false;
    v_at := null;
    if duty = 'promote' then
      -- one that waits for another job of its dedupe key is due when that is over, which nobody says
      select count(*) = 20 and count(*) = count(*) filter (where x.is_waiting),
        min(x.run_at) filter (where not x.is_waiting)
      into v_is_due, v_at from (
        select j.run_at, j.after_id is not null and (j.run_at > v_now or exists (
          select from _jobs p where p.id = j.after_id and p.dead_at is null)) as is_waiting
        from _jobs j where j.seq is null and j.run_at is not null and j.group_seq is null
        order by j.run_at limit 20
      ) x;
      v_is_due := v_is_due or exists (select from _group_changes);
    elsif duty = 'schedule' then
      v_at := (select min(due_at) from _schedules where due_at is not null);
    elsif duty = 'reap' then
      -- of pulled jobs there may be very many: the first that is due
      v_at := least(
        (select min(case
          when l.expires_at > v_now + (l.lease_ms + 1000) * interval '1 millisecond' then v_now
          else l.expires_at end) from _leases l where l.due_at is null),
        (select min(l.due_at) from _leases l where l.due_at is not null));
      -- the clock of the server was ahead: some are looked at, as by reap()
      v_is_due := exists (
        select from (
          (select expires_at, lease_ms from _leases where id >= v_from order by id limit 200)
          union all (select expires_at, lease_ms from _leases where id < v_from order by id limit 200)
          limit 200) u
        where u.expires_at > v_now + (u.lease_ms + 1000) * interval '1 millisecond');
    elsif duty = 'sweep' then
      v_is_due := exists (select from _dedupes d where d.expires_at < v_now)
        or exists (select from _group_rates r where r.next_at < v_now)
        or exists (select from _reports r where r.looked_at < v_now - (
          select max(retention_ms) * interval '1 millisecond' + interval '1 day' from _queues
          where deleted_at is null))
        or exists (select from _seq_horizon h where h.decided > v_last or h.decided <= v_last - 1000)
        or exists (
          select from (
            -- of some thirty pages, drawn at random where there are more
            select m.queue_id, m.lane, max(m.seen_seq) as seq from _lease_marks m
              tablesample system (least(32 * 8192 * 100.0 / greatest(pg_relation_size('_lease_marks'), 1), 100))
            where m.seen_seq <= v_last group by m.queue_id, m.lane
          ) p
          left join _lane_floors f on f.queue_id = p.queue_id and f.lane = p.lane
          cross join lateral (
            select count(*) filter (where y.lease_id is null) as ready, count(*) as seen from (
              select j.lease_id from _jobs j
              where j.queue_id = p.queue_id and j.lane = p.lane and j.seq is not null
                and j.seq > coalesce(f.seq, 0) and j.seq <= p.seq
              order by j.seq limit 200
            ) y
          ) x
          -- a floor is at most 1,000 behind what is decided, and that behind the sequence, when a sweep is over
          where x.ready > 0 or x.seen = 200 or p.seq - coalesce(f.seq, 0) > 2000
            or f.rewind_seq is not null or f.swept_seq is not null
        );
    elsif duty = 'expire' then
      v_is_due := (
        select count(*) filter (where x.lease_id is null) > 0 or count(*) = 100 from (
          select j.lease_id from _jobs j where j.expires_at is not null and j.expires_at < v_now
          order by j.expires_at limit 100
        ) x);
    elsif duty = 'roll-up' then
      v_is_due := (select d.id from _counter_deltas d where d.id > p_rolled order by d.id limit 1) is not null;
    elsif duty = 'tend' then
      v_is_due := exists (select from _holds h where h.until <= v_now)
        or exists (select from _holds h where h.at > v_now + interval '1 second')
        or exists (select from _queues where paused_until <= v_now)
        or exists (select from _queues where ageing_ms is not null and deleted_at is null
          and (aged_seq is not null or aged_at > v_now
            or aged_at < v_now - ageing_ms * interval '1 millisecond'))
        or exists (select from _group_openings);
    elsif duty = 'fold-batches' then
      v_is_due := (select d.batch_id from _batch_deltas d order by d.batch_id limit 1) is not null
        or exists (select from _batches b where b.retry_at <= v_now)
        or exists (select from _batches b where b.retry_at > v_now + interval '11 seconds')
        or exists (select from _batches b where b.finished_at < v_now - interval '7 days');
    else
      v_is_due := true;  -- of a newer version, which knows another
    end if;
    if v_is_due then
      v_at := v_now;
    end if;
    if v_at is not null then
      in_ms := ceil(extract(epoch from
        least(greatest(v_at, v_now), v_now + interval '1 hour') - v_now) * 1000)::bigint;
      return next;
    end if;
  end loop;
end $$;

-- Priority ageing of one queue: what waited longer than ageing_ms goes to the next higher lane in use,
-- once a pass; a pass begins every ageing_ms. done: the pass is at its end.
create function {{schema}}._age_queue(
  p_queue {{schema}}._queues, p_limit integer, out aged integer, out done boolean
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
          select id, run_at, enqueued_at from _jobs
          where queue_id = p_queue.id and lane = v_lane and seq is not null
            and seq > _lane_floor(p_queue.id, v_lane) and seq <= p_queue.aged_seq
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
        update _jobs j set lane = v_to, seq = v_seqs[width_bucket(j.id, (select v_ids))]
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
  v_queue _queues;
  v_pass record;
  v_aged integer := 0;
  v_freed integer;
  v_opened integer := 0;
  v_queue_id integer;
begin
  -- said while the clock of the server was ahead
  update _holds set until = clock() + (until - at), at = clock() where ctid = any (array(
    select h.ctid from _holds h where h.at > clock() + interval '1 second' limit 1000
    for update skip locked));
  with over as (
    update _queues set
      paused_at = case when paused_until <= clock() then null else paused_at end,
      paused_reason = case when paused_until <= clock() then null else paused_reason end,
      paused_until = case when paused_until <= clock() then null else paused_until end
    where id = any (array(select id from _queues where paused_until <= (select clock())
      order by paused_until for no key update skip locked))
    returning id
  ), waited as (
    delete from _holds where ctid = any (array(
      select h.ctid from _holds h where h.until <= (select clock())
      order by h.until limit 10000 for update skip locked))
    returning queue_id
  )
  select count(*) into v_freed from (
    select _ring_queue(x.id, 16, 0) from (
      select id from over
      union select queue_id from waited w where not exists (
        select from _holds h where h.queue_id = w.queue_id and h.until > clock())
    ) x
  ) r;
  -- of holds only the longest matters
  delete from _holds where ctid = any (array(
    select h.ctid from _holds h where exists (
      select from _holds l where l.queue_id = h.queue_id and (l.until, l.id) > (h.until, h.id))
    limit 10000 for update skip locked));

  for v_queue in
    select * from _queues where ageing_ms is not null and deleted_at is null
      and (aged_seq is not null or aged_at > clock()
        or aged_at < clock() - ageing_ms * interval '1 millisecond')
    order by ageing_ms, id for no key update skip locked
  loop
    if v_queue.aged_seq is null then
      v_queue.aged_at := clock();
      v_queue.aged_seq := (select last_value from job_seq);
    end if;
    v_pass := _age_queue(v_queue, least(greatest(p_limit, 1), 10000));
    v_aged := v_aged + v_pass.aged;
    update _queues set aged_at = v_queue.aged_at,
      aged_seq = case when not v_pass.done then v_queue.aged_seq end
    where id = v_queue.id;
  end loop;
  for v_queue_id in select queue_id from _group_openings order by queue_id limit 10 loop
    v_opened := v_opened + _open_groups(v_queue_id, least(greatest(p_limit, 1), 1000));
  end loop;
  return query select v_freed, v_aged, v_opened;
end $$;

-- Down Migration

drop function {{schema}}.tend_queues(integer);
drop function {{schema}}._age_queue({{schema}}._queues, integer);
drop function {{schema}}.upkeep_due(text[], bigint);
drop function {{schema}}.expire(integer);
drop function {{schema}}.sweep(integer);
drop function {{schema}}.promote(integer, timestamptz);
