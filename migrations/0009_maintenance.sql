-- Maintenance: each duty is one function, bounded in rows, safe to run twice and on two machines at once.
-- None waits longer than 100 ms for a row that an application's transaction may hold: what can be passed over
-- is, and what cannot has a time-out of its own; it is left to the next round, and the rest goes on.

-- Up Migration

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
  v_is_left boolean := (select f.is_left from fold_groups(p_limit) f);
begin
  -- what was changed while its lock was sought comes with its new time: others before that were not looked at
  select array_agg(d.id order by d.run_at), max(d.run_at) filter (where exists (
    select from jobs o where o.id = d.id and o.run_at = d.run_at)) into v_ids, mark from (
    select j.id, j.run_at from jobs j
    where j.seq is null and j.run_at is not null and j.group_seq is null
      and j.run_at > p_after and j.run_at <= v_now
      and (j.after_id is null or not exists (
        select from jobs p where p.id = j.after_id and p.dead_at is null))
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
      update jobs j set seq = v_seqs[width_bucket(j.id, (select v_ids))] where j.id = any (v_ids)
      returning j.queue_id
    ), counted as (
      insert into counter_deltas (queue_id, scheduled, ready)
      select queue_id, -count(*), count(*) from changed group by queue_id
      returning queue_id, ready
    )
    select null into v_ids from (select ring_queue(queue_id, ready, 0) from counted) r;
  end if;
  next_ms := (
    select greatest(ceil(extract(epoch from j.run_at - clock()) * 1000), 0)::bigint from jobs j
    where j.seq is null and j.run_at is not null and j.group_seq is null and j.run_at > mark
      and j.after_id is null
    order by j.run_at limit 1
  );
  if v_is_left then
    next_ms := least(next_ms, 100);  -- nobody says when a transaction has ended
  end if;
  return next;
end $$;

-- Gives back what a lease holds, at most p_limit jobs. p_crashed: its worker is dead, so attempts
-- count and a job that keeps killing its workers is buried (see 0017_suspects.sql). done: nothing is left
-- and the lease is gone.
-- The caller holds the lease's row for update, and gives left_groups to change_groups().
create function {{schema}}.give_back(
  p_lease {{schema}}.leases, p_crashed boolean, p_limit integer,
  out requeued integer, out dead integer, out settled integer, out done boolean,
  out left_groups {{schema}}.groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_mark lease_marks;
  v_job jobs;
  v_queue queues;
  v_max_attempts integer;
  v_is_crash boolean;  -- it may have killed its worker
  v_is_alone boolean;  -- and then nobody else has
  v_is_last boolean;   -- of its attempts
  v_ask jsonb;         -- how its attempt has ended, where its worker has left that
  v_is_left boolean := exists (select from left_settles where lease_id = p_lease.id);
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- an older snapshot does not show what the lease claimed last, and deleting it would orphan that
    raise exception 'a lease is not given back in a % transaction',
      current_setting('transaction_isolation') using errcode = '25001',
      hint = 'use read committed, the default of PostgreSQL';
  end if;
  requeued := 0;
  dead := 0;
  settled := 0;
  done := true;
  left_groups := '{}';
  for v_mark in select * from lease_marks where lease_id = p_lease.id order by queue_id, lane loop
    for v_job in
      select * from jobs j
      where j.queue_id = v_mark.queue_id and j.lane = v_mark.lane and j.seq is not null
        and j.seq between v_mark.low_seq and v_mark.high_seq and j.lease_id = p_lease.id
      -- followers of one head have its seq: the last of them first, so that each finds what is before it
      order by j.seq, j.follow_seq desc nulls last
      limit greatest(p_limit - requeued - dead - settled, 0) for update skip locked
    loop
      if v_is_left then
        v_ask := (select ask from left_settles
          where lease_id = p_lease.id and job_id = v_job.id and attempt = v_job.attempt);
        if v_ask is not null then
          left_groups := left_groups || (settle_one(v_job, v_ask)).left_group;
          settled := settled + 1;
          continue;
        end if;
      end if;
      select * into v_queue from queues where id = v_job.queue_id;
      if v_job.follow_seq is not null and not v_job.cancel_requested
        and (not p_crashed or is_behind(v_job)) then
        v_job.uncounted := v_job.uncounted + 1;
        left_groups := left_groups || return_follower(v_job);
        requeued := requeued + 1;
        continue;
      end if;
      v_is_crash := p_crashed and p_lease.held is null
        and (v_job.id = any (p_lease.aside)) is not true;
      v_is_alone := is_alone(v_job.lane) and (v_job.id = any (p_lease.company)) is not true;
      if p_crashed and p_lease.held is not null then
        -- a pulled job whose visibility has ended: slow or gone, nobody knows
        v_job.errors := add_error(v_job, jsonb_build_object('name', 'VisibilityEnded', 'message',
          format('consumer %s did not settle it in time', p_lease.worker)));
      elsif v_is_crash then
        v_job.crashes := v_job.crashes + 1;
        v_job.errors := add_error(v_job, jsonb_build_object('name', 'LeaseExpired', 'message',
          format('worker %s stopped renewing its lease', p_lease.worker)
          || case when v_is_alone then ' while it ran this job alone' else '' end));
      else
        v_job.uncounted := v_job.uncounted + 1;  -- given back, or set aside: not begun
      end if;
      v_max_attempts := coalesce(v_job.max_attempts, v_queue.max_attempts);
      v_is_last := p_crashed and v_job.attempt - v_job.uncounted >= v_max_attempts;
      if v_job.cancel_requested then
        perform finish(v_job, 'cancelled',
          coalesce(v_job.cancel_reason, 'cancelled while its worker was lost'));
        left_groups := left_groups || left_group(v_job);
      elsif v_is_crash and v_is_alone and v_job.crashes >= v_queue.max_crashes then
        perform bury(v_job, 'crashed its worker');
        left_groups := left_groups || left_group(v_job);
        dead := dead + 1;
      elsif v_is_last and (v_max_attempts = 1 or v_is_alone or not v_is_crash) then
        perform bury(v_job, 'attempts exhausted');
        left_groups := left_groups || left_group(v_job);
        dead := dead + 1;
      else
        if v_is_crash then
          v_job.lane := suspect_lane(v_job.lane, v_job.crashes,
            v_is_last or v_job.crashes + 1 >= v_queue.max_crashes);
          -- a neighbour may have cost it its last attempt: once more, alone
          v_job.uncounted := v_job.uncounted + v_is_last::integer;
        end if;
        perform put_back(v_job, null, true);
        if v_job.follow_seq is not null then
          left_groups := left_groups || new_head(v_job);
        end if;
        requeued := requeued + 1;
      end if;
    end loop;
    -- a row that a settle holds right now was skipped: the lease stays until it is known to be gone
    done := done and not exists (
      select from jobs j
      where j.queue_id = v_mark.queue_id and j.lane = v_mark.lane and j.seq is not null
        and j.seq between v_mark.low_seq and v_mark.high_seq and j.lease_id = p_lease.id);
  end loop;
  if done then
    delete from sleepers where lease_id = p_lease.id;
    perform drop_watches(p_lease.id);
    delete from lease_marks where lease_id = p_lease.id;
    delete from lease_notices where lease_id = p_lease.id;
    delete from left_settles where lease_id = p_lease.id;
    delete from leases where id = p_lease.id;
  end if;
end $$;

-- A worker's good-bye. Waits for nothing: what a settle, or a transaction that cancels it, holds right now is left
-- to the reaper, which does not take it for crashed.
create function {{schema}}.close_lease(p_lease_id bigint) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_lease leases;
  v_result record;
begin
  perform resign(p_lease_id);
  select * into v_lease from leases where id = p_lease_id for update;
  if not found then
    return 0;
  end if;
  v_result := give_back(v_lease, false, 100000);
  perform change_groups(v_result.left_groups);
  if not v_result.done then
    update leases set expires_at = clock(), due_at = case when due_at is not null then clock() end, aside = array(
      select j.id from lease_marks m join jobs j on j.queue_id = m.queue_id and j.lane = m.lane
        and j.seq is not null and j.seq between m.low_seq and m.high_seq and j.lease_id = p_lease_id
      where m.lease_id = p_lease_id)
    where id = p_lease_id;
  end if;
  return v_result.requeued;
end $$;

-- For a worker that does not know how a claim of its went: gives back what its lease holds beyond the jobs it
-- knows of, attempts not counted. A claim that is still under way holds the lease, so this waits for its end.
-- Returns how many, null when the lease has ended.
create function {{schema}}.return_strays(p_lease_id bigint, p_known bigint[]) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_mark lease_marks;
  v_strays jsonb := '[]';
begin
  perform 1 from leases where id = p_lease_id for update;
  if not found then
    return null;
  end if;
  for v_mark in select * from lease_marks where lease_id = p_lease_id loop
    v_strays := v_strays || coalesce((
      select jsonb_agg(jsonb_build_object('id', j.id, 'attempt', j.attempt, 'outcome', 'release'))
      from jobs j
      where j.queue_id = v_mark.queue_id and j.lane = v_mark.lane and j.seq is not null
        and j.seq between v_mark.low_seq and v_mark.high_seq and j.lease_id = p_lease_id
        and j.id not in (select unnest(p_known))), '[]');
  end loop;
  perform settle(p_lease_id, v_strays);
  return jsonb_array_length(v_strays);
end $$;

-- Running jobs whose lease is not there, as a restore of parts or a change by hand leaves them: nobody would
-- ever end them. Their leases are put back as ended ones, so that reap() treats them as any. Looks at p_limit
-- jobs from p_after on, a mark; '0' is the first. mark: where the next call goes on.
create function {{schema}}.find_orphans(p_after bigint default 0, p_limit integer default 10000)
returns table (looked integer, orphans integer, mark bigint)
language plpgsql security definer {{settings}} as $$
declare
  v_orphans record;
begin
  p_limit := least(greatest(p_limit, 1), 100000);
  select count(*) as looked, max(s.id) as last,
    array_agg((s.lease_id, s.queue_id, s.lane, s.seq - 1, 0, s.seq, clock())::lease_marks)
      filter (where s.lease_id is not null and not exists (select from leases l where l.id = s.lease_id)) as marks
  into v_orphans from (
    select j.id, j.lease_id, j.queue_id, j.lane, j.seq from jobs j
    where j.id > p_after order by j.id limit p_limit) s;
  looked := v_orphans.looked;
  orphans := coalesce(cardinality(v_orphans.marks), 0);
  mark := case when looked < p_limit then 0 else v_orphans.last end;
  if orphans > 0 then
    insert into leases (id, worker, lease_ms, opened_at, expires_at, held)
    select m.lease_id, 'unknown: its lease was lost', 1000, clock(), '-infinity', count(*)
    from unnest(v_orphans.marks) m group by m.lease_id order by m.lease_id
    on conflict (id) do nothing;
    insert into lease_marks as m
    select u.lease_id, u.queue_id, u.lane, min(u.low_seq), 0, max(u.high_seq), clock()
    from unnest(v_orphans.marks) u group by u.lease_id, u.queue_id, u.lane
    order by u.lease_id, u.queue_id, u.lane
    on conflict (lease_id, queue_id, lane) do update set
      low_seq = least(m.low_seq, excluded.low_seq), high_seq = greatest(m.high_seq, excluded.high_seq);
  end if;
  return next;
end $$;

-- A dead worker's jobs run elsewhere. A lease of which something is held by an open transaction goes to the
-- end of the line: however many there are of them, the others get their turn.
create function {{schema}}.reap(p_limit integer default 1000)
returns table (leases integer, requeued integer, dead integer)
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
#variable_conflict use_column
declare
  v_lease leases;
  v_result record;
  v_left groups[] := '{}';
  v_leases integer := 0;
  v_requeued integer := 0;
  v_dead integer := 0;
  v_is_done boolean;
  v_refused integer := 0;
  v_tried integer := 0;
  v_now timestamptz := clock();  -- as a value it is looked up in an index
  v_from bigint := trunc(random() * 9223372036854774784)::bigint;
begin
  -- The clock of the server was ahead when these were renewed: who lives renews them, who is dead has no more
  -- than anybody has. Of pulled jobs' leases 200 are looked at, from one drawn at random.
  update leases l set expires_at = clock() + l.lease_ms * interval '1 millisecond',
    due_at = case when l.due_at is not null then clock() + l.lease_ms * interval '1 millisecond' end
  where l.id = any (array(
    select f.id from leases f
    where f.id = any (array(
        select id from leases where due_at is null
          and expires_at > clock() + (lease_ms + 1000) * interval '1 millisecond' limit 100)
      || array(
        select u.id from (
          (select id, expires_at, lease_ms from leases where id >= v_from order by id limit 200)
          union all (select id, expires_at, lease_ms from leases where id < v_from order by id limit 200)
          limit 200) u
        where u.expires_at > clock() + (u.lease_ms + 1000) * interval '1 millisecond'))
    order by f.id for no key update skip locked));
  for v_lease in
    with worker as (
      select * from leases l where l.due_at is null and l.expires_at < clock() order by l.expires_at, l.id
      limit 100 for update skip locked
    ), pulled as (
      select * from leases l where l.due_at < v_now order by l.due_at limit 2000 for update skip locked
    )
    select * from (select * from worker union all select * from pulled) l order by l.expires_at, l.id
  loop
    if v_lease.expires_at >= clock() then
      update leases l set due_at = v_lease.expires_at where l.id = v_lease.id;  -- it was extended
      continue;
    end if;
    exit when v_tried >= 100;
    v_tried := v_tried + 1;
    begin
      v_result := give_back(v_lease, true, p_limit - v_requeued - v_dead);
      v_leases := v_leases + v_result.done::integer;
      v_requeued := v_requeued + v_result.requeued;
      v_dead := v_dead + v_result.dead;
      v_left := v_left || v_result.left_groups;
      v_is_done := v_result.done;
    exception when lock_not_available then
      v_is_done := false;
      v_refused := v_refused + 1;
    end;
    exit when v_requeued + v_dead >= p_limit;
    if not v_is_done then
      update leases l set expires_at = clock(), due_at = case when l.due_at is not null then clock() end
      where l.id = v_lease.id;
    end if;
    exit when v_refused >= 5;
  end loop;
  perform change_groups(v_left);
  return query select v_leases, v_requeued, v_dead;
end $$;

-- Up to which number of job_seq all is decided. p_last: the last that was drawn, read before this is called. Who
-- draws a number holds a lock on the sequence until its transaction ends, and lets go when its rows can be
-- seen: so all is decided once those that held it then hold it no more.
create function {{schema}}.decide_numbers(p_last bigint) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_horizon seq_horizon;
  v_holders text[];
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    return 0;  -- an older snapshot does not show who has ended meanwhile
  end if;
  select * into v_horizon from seq_horizon for update;
  if v_horizon.decided > p_last then
    -- a failover or a restore has set the sequence back
    delete from lane_floors where seq > p_last;
    update seq_horizon set decided = 0, pending = null, holders = '{}';
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
  update seq_horizon set decided = v_horizon.decided, pending = v_horizon.pending, holders = v_holders;
  return v_horizon.decided;
end $$;

-- Raises the floor of a lane to what is decided, or to the first job that is ready. Running jobs do not
-- matter: when they return, they draw a new number. Returns the floor.
create function {{schema}}.raise_floor(p_queue_id integer, p_lane smallint, p_decided bigint)
returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_floor bigint := lane_floor(p_queue_id, p_lane);
  v_to bigint := p_decided;
begin
  if p_decided - v_floor < 1000 then
    return v_floor;
  end if;
  select j.seq - 1 into v_to from jobs j
  where j.queue_id = p_queue_id and j.lane = p_lane and j.seq is not null and j.seq > v_floor
    and j.seq <= p_decided and j.lease_id is null
  order by j.seq limit 1;
  v_to := coalesce(v_to, p_decided);
  if v_to - v_floor >= 1000 then
    insert into lane_floors as f (queue_id, lane, seq) values (p_queue_id, p_lane, v_to)
    on conflict (queue_id, lane) do update set seq = greatest(f.seq, excluded.seq)
    returning seq into v_floor;
  end if;
  return v_floor;
end $$;

-- For sweep(): which numbers of a lane are looked at, between its floor and what the cursors have passed: the last
-- p_window, and above low up to high. Where claims begin before late jobs: all from there.
create function {{schema}}.look_behind(
  p_queue_id integer, p_lane smallint, p_floor bigint, p_passed bigint, p_window bigint,
  out low bigint, out high bigint, out tail bigint, out rewind_seq bigint
)
language plpgsql security definer {{settings}} as $$
declare
  v_swept bigint;
begin
  select f.rewind_seq, f.swept_seq into rewind_seq, v_swept from lane_floors f
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
    insert into lane_floors as f (queue_id, lane, seq, swept_seq)
    values (p_queue_id, p_lane, p_floor, high)
    on conflict (queue_id, lane) do update set swept_seq = case when high < tail then high end;
  end if;
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
  perform 1 from locks where id = 66 for update skip locked;
  if not found then
    return 0;
  end if;
  v_decided := decide_numbers(v_last);
  for v_passed in
    select queue_id, lane, max(seen_seq) as seq, max(high_seq) as high from lease_marks
    -- after a failover that set the sequence back, marks ahead of it say nothing
    where seen_seq <= v_last group by queue_id, lane order by queue_id, lane
  loop
    -- first, so that what is over is walked over once; not for ever in a lane where nothing is claimed
    v_floor := raise_floor(v_passed.queue_id, v_passed.lane, least(v_decided, v_passed.high));
    v_look := look_behind(v_passed.queue_id, v_passed.lane, v_floor, v_passed.seq, v_window);
    v_late := array(
      select x.seq from (
        select j.seq from jobs j
        where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq is not null
          and j.seq > v_look.low and j.seq <= v_look.high and j.lease_id is null
        union all
        select j.seq from jobs j
        where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq is not null
          and j.seq > v_look.tail and j.seq <= v_passed.seq and j.lease_id is null
      ) x
      order by x.seq limit case when v_look.rewind_seq is not null then 1000
        else least(greatest(p_limit - v_total, 0), 2000) end);
    if cardinality(v_late) >= 1000 or v_look.rewind_seq is not null then
      -- those that are few again get new numbers with the next call
      insert into lane_floors as f (queue_id, lane, seq, rewind_seq)
      values (v_passed.queue_id, v_passed.lane, v_floor, v_late[1] - 1)
      on conflict (queue_id, lane) do update
      set rewind_seq = case when cardinality(v_late) >= 1000 then excluded.rewind_seq end;
      perform ring_queue(v_passed.queue_id, cardinality(v_late), 0) where cardinality(v_late) > 0;
      v_total := v_total + cardinality(v_late);
      continue;
    end if;
    v_ids := array(
      select j.id from jobs j
      where j.queue_id = v_passed.queue_id and j.lane = v_passed.lane and j.seq = any (v_late)
        and j.lease_id is null
      order by j.seq for update skip locked
    );
    if cardinality(v_ids) > 0 then
      v_seqs := array(select nextval('job_seq') from generate_series(1, cardinality(v_ids)));
      -- as in promote()
      select array_agg(u.id order by u.id), array_agg(u.seq order by u.id) into v_ids, v_seqs
      from unnest(v_ids, v_seqs) u (id, seq);
      update jobs j set seq = v_seqs[width_bucket(j.id, (select v_ids))] where j.id = any (v_ids);
      perform ring_queue(v_passed.queue_id, cardinality(v_ids), 0);
      v_total := v_total + cardinality(v_ids);
    end if;
  end loop;
  perform prune_dedupes(10 * least(greatest(p_limit, 0), 2000));
  perform prune_group_rates(10 * least(greatest(p_limit, 0), 2000));
  perform prune_reports(p_limit);
  return v_total;
end $$;

-- Waiting jobs whose TTL has ended are recorded as expired. It waits for no lock: what others hold is
-- left to the next call. A blocked job is locked after its group, as everywhere; of blocked ones it looks
-- at the oldest, and from a time drawn at random, so that those of groups which are held for long hide no others.
create function {{schema}}.expire(p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
declare
  v_job jobs;
  v_left groups[] := '{}';
  v_total integer := 0;
  v_limit integer := least(greatest(p_limit, 0), 10000);
  v_now timestamptz := clock();
  v_first timestamptz;
  v_from timestamptz;
  v_looked integer;
begin
  for v_job in
    select * from jobs j where j.expires_at is not null and j.expires_at < v_now
      and j.lease_id is null and j.group_seq is null
    order by j.expires_at limit v_limit for update skip locked
  loop
    perform finish(v_job, 'expired', 'waiting TTL');
    v_left := v_left || left_group(v_job);
    v_total := v_total + 1;
  end loop;
  for v_round in 1 .. 2 loop
    exit when v_total >= v_limit;
    v_looked := 0;
    for v_job in
      -- said so that the index of blocked jobs does not fit: all of them would be read
      select * from jobs j where j.expires_at is not null and j.expires_at < v_now
        and coalesce(j.group_seq, 0) <> 0 and (v_from is null or j.expires_at >= v_from)
      order by j.expires_at limit 2 * v_limit
    loop
      v_looked := v_looked + 1;
      v_first := coalesce(v_first, v_job.expires_at);
      continue when not try_group(v_job);
      select * into v_job from jobs j where j.id = v_job.id and j.group_seq is not null
      for update skip locked;
      continue when not found;
      perform finish(v_job, 'expired', 'waiting TTL');
      v_left := v_left || left_group(v_job);
      v_total := v_total + 1;
      exit when v_total >= v_limit;
    end loop;
    exit when v_looked < 2 * v_limit;
    v_from := v_first + random() * (v_now - v_first);
  end loop;
  perform change_groups(v_left);
  return v_total;
end $$;

-- The rate of p_count events since p_since, joined to the rate before: it forgets within 10 seconds.
create function {{schema}}.smoothed_rate(
  p_rate double precision, p_count double precision, p_since timestamptz, p_now timestamptz
) returns double precision
language sql immutable as $$
  select p_rate * exp(-s / 10) + p_count / s * (1 - exp(-s / 10))
  from (select greatest(extract(epoch from p_now - p_since), 0.001)::double precision as s) x
$$;

-- Folds counter deltas. p_after as in promote().
create function {{schema}}.roll_up(p_limit integer default 10000, p_after bigint default 0)
returns table (rolled integer, mark bigint)
language plpgsql security definer {{settings}} as $$
begin
  -- one at a time, as sweep()
  perform 1 from locks where id = 67 for update skip locked;
  if not found then
    rolled := 0;
    mark := p_after;
    return next;
    return;
  end if;
  with gone as (
    delete from counter_deltas where id in (
      select d.id from counter_deltas d where d.id > p_after
      order by d.id limit least(greatest(p_limit, 1), 100000) for update skip locked)
    returning *
  ), folded as (
    insert into counters as c (queue_id, ready, scheduled, running, dead, enqueued, completed,
      failed, cancelled, expired, buried, discarded, blocked, bytes, rate)
    select queue_id, sum(ready), sum(scheduled), sum(running), sum(dead), sum(enqueued),
      sum(completed), sum(failed), sum(cancelled), sum(expired), sum(buried), sum(discarded),
      sum(blocked), coalesce(sum(bytes), 0), sum(completed + cancelled + expired + buried + discarded)
    from gone group by queue_id order by queue_id
    on conflict (queue_id) do update set
      ready = c.ready + excluded.ready, scheduled = c.scheduled + excluded.scheduled,
      running = c.running + excluded.running, dead = c.dead + excluded.dead,
      enqueued = c.enqueued + excluded.enqueued, completed = c.completed + excluded.completed,
      failed = c.failed + excluded.failed, cancelled = c.cancelled + excluded.cancelled,
      expired = c.expired + excluded.expired, buried = c.buried + excluded.buried,
      discarded = c.discarded + excluded.discarded, blocked = c.blocked + excluded.blocked,
      bytes = c.bytes + excluded.bytes, rated_at = clock(),
      rate = smoothed_rate(c.rate, excluded.rate, c.rated_at, clock())
  )
  select count(*), coalesce(max(id), p_after) into rolled, mark from gone;
  return next;
end $$;

-- The day as history is cut, as text that no setting of the session shapes.
create function {{schema}}.day_start(p_day date) returns text
language sql stable as $$
  select pg_catalog.to_char(p_day, 'YYYY-MM-DD') || ' 00:00:00+00'
$$;

-- Makes the partition of a day, and moves there what the default partition has of it. It is made beside and
-- attached, which locks the default partition. Locked first, for a moment or not at all, so that nothing is
-- written there between the move and the attachment.
create function {{schema}}.create_partition(p_day date) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_name text := 'history_' || to_char(p_day, 'YYYYMMDD');
begin
  perform set_config('lock_timeout', '100ms', true);
  lock table history_default in access exclusive mode;
  execute format('create table %I (like history including all)', v_name);
  execute format('alter table %I replica identity full', v_name);
  execute format('with moved as (delete from history_default
    where finished_at >= %1$L and finished_at < %2$L returning *)
    insert into %3$I select * from moved', day_start(p_day), day_start(p_day + 1), v_name);
  execute format('alter table history attach partition %I for values from (%L) to (%L)', v_name,
    day_start(p_day), day_start(p_day + 1));
  insert into history_days (day) values (p_day)
  on conflict (day) do update set low_id = null, high_id = null, noted_at = null;
end $$;

-- Notes which ids are in the days that are over: at most 30 a call, so few are locked. A day to which an open
-- transaction has written is left to the next call; so is one that ended less than an hour ago, for a time is
-- taken before its row is written. Returns how many were noted.
create function {{schema}}.note_days() returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_day date;
  v_low bigint;
  v_high bigint;
  v_noted integer := 0;
begin
  -- partitions that were made or dropped by hand
  with there as (
    select pg_catalog.to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass(format('%I.history', current_schema())) and c.relname ~ '^history_[0-9]{8}$'
  ), gone as (
    delete from history_days where day not in (select day from there)
  )
  insert into history_days (day) select day from there on conflict do nothing;
  update history_days set low_id = null, high_id = null, noted_at = null where noted_at > v_now;
  for v_day in
    select day from history_days
    where high_id is null and day_start(day + 1)::timestamptz < v_now - interval '1 hour' order by day desc limit 30
  loop
    begin
      execute format('lock table %I in share mode nowait', 'history_' || to_char(v_day, 'YYYYMMDD'));
      execute format('select coalesce(min(id), 1), coalesce(max(id), 0) from %I',
        'history_' || to_char(v_day, 'YYYYMMDD')) into v_low, v_high;
      update history_days set low_id = v_low, high_id = v_high, noted_at = v_now where day = v_day;
      v_noted := v_noted + 1;
    exception when lock_not_available or undefined_table then
      null;
    end;
  end loop;
  return v_noted;
end $$;

-- How long the history is kept: as long as the longest retention of any queue.
create function {{schema}}.history_kept() returns interval
language sql stable security definer {{settings}} as $$
  select max(retention_ms) * interval '1 millisecond' from queues where deleted_at is null
$$;

-- Creates the partitions of history for today and the days ahead, and for days of which the default partition
-- has rows that are to be kept. Each on its own: one that fails, because its name is taken or it is locked, is
-- left to the next run.
create function {{schema}}.create_partitions(out created integer, out problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_day date;
begin
  created := 0;
  for v_day in
    select generate_series(0, 3) + (clock() at time zone 'UTC')::date
    union
    (select distinct (finished_at at time zone 'UTC')::date as day from history_default
    where finished_at >= clock() - history_kept() order by day limit 100)
    order by 1
  loop
    continue when to_regclass(format('%I.%I', current_schema(), 'history_' || to_char(v_day, 'YYYYMMDD')))
      is not null;
    begin
      perform create_partition(v_day);
      created := created + 1;
    exception
      when lock_not_available then null;  -- in use: the next run tries again
      when others then
        problems := problems || format('partition of %s cannot be made: %s', to_char(v_day, 'YYYY-MM-DD'), sqlerrm);
    end;
  end loop;
end $$;

-- Retention: a day's partition goes when the longest retention of any queue has passed. It is emptied
-- first, which locks that day only; dropping needs history itself and gives up soon if it is in use. Each on
-- its own: one that cannot be dropped keeps no other.
create function {{schema}}.drop_partitions(out dropped integer, out problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_name text;
  v_keep interval := history_kept();
begin
  dropped := 0;
  for v_name in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass(format('%I.history', current_schema()))
      and c.relname ~ '^history_[0-9]{8}$'
      and (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC'
        < clock() - v_keep
    order by 1
  loop
    begin
      perform set_config('lock_timeout', '100ms', true);
      execute format('truncate %I', v_name);
      execute format('drop table %I', v_name);
      delete from history_days where day = pg_catalog.to_date(right(v_name, 8), 'YYYYMMDD');
      dropped := dropped + 1;
    exception
      when lock_not_available then null;  -- in use: the next run tries again
      when others then problems := problems || format('%s cannot be dropped: %s', v_name, sqlerrm);
    end;
  end loop;
end $$;

-- Rows whose day never got a partition of its own: those that are kept no longer. It waits for nobody.
create function {{schema}}.clear_default(p_limit integer) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_cleared integer;
begin
  with gone as (
    delete from history_default where ctid = any (array(
      select d.ctid from history_default d where d.finished_at < (select clock()) - (select history_kept())
      limit p_limit for update skip locked))
    returning 1
  )
  select count(*) into v_cleared from gone;
  return v_cleared;
end $$;

-- Queues that have jobs which are ready or run, or blocked: a look into an index for each, however many jobs and
-- deleted queues there are.
create function {{schema}}.queues_in_use() returns setof integer
language sql stable security definer {{settings}} as $$
  with recursive ready as (
    (select queue_id from jobs where seq is not null order by queue_id limit 1)
    union all
    select (select j.queue_id from jobs j where j.seq is not null and j.queue_id > r.queue_id
      order by j.queue_id limit 1)
    from ready r where r.queue_id is not null
  ), blocked as (
    (select queue_id from jobs where group_seq is not null order by queue_id limit 1)
    union all
    select (select j.queue_id from jobs j where j.group_seq is not null and j.queue_id > b.queue_id
      order by j.queue_id limit 1)
    from blocked b where b.queue_id is not null
  )
  select queue_id from ready where queue_id is not null
  union select queue_id from blocked where queue_id is not null
$$;

-- Jobs that an enqueue put into a queue while it was deleted, at most a thousand of a kind and queue.
create function {{schema}}.bury_orphans() returns void
language plpgsql security definer {{settings}} as $$
declare
  v_queue_id integer;
  v_job jobs;
  v_left groups[] := '{}';
begin
  for v_queue_id in
    select u from queues_in_use() u
    where not exists (select from queues q where q.id = u and q.deleted_at is null) order by u limit 100
  loop
    for v_job in
      select * from jobs j where j.queue_id = v_queue_id and j.seq is not null and j.lease_id is null
      order by j.lane, j.seq limit 1000 for update skip locked
    loop
      perform bury(v_job, 'queue deleted');
      v_left := v_left || left_group(v_job);
    end loop;
    for v_job in
      select * from jobs j where j.queue_id = v_queue_id and j.group_seq is not null
      order by j.group_key, j.group_seq limit 1000
    loop
      continue when not try_group(v_job);
      select * into v_job from jobs j where j.id = v_job.id and j.group_seq is not null for update;
      continue when not found;
      perform bury(v_job, 'queue deleted');
      v_left := v_left || left_group(v_job);
    end loop;
  end loop;
  perform change_groups(v_left);
end $$;

-- Rows of deleted queues of which nothing is left in jobs, nor, by now, in the history. Returns how many.
create function {{schema}}.forget_queues(p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := array(
    select q.id from queues q
    where q.deleted_at < (select clock()) - (select history_kept()) - interval '2 days'
      and not exists (select from counters c
        where c.queue_id = q.id and (c.ready, c.scheduled, c.running, c.blocked, c.dead) <> (0, 0, 0, 0, 0))
      and not exists (select from jobs j where j.queue_id = q.id and j.seq is not null)
      and not exists (select from jobs j where j.queue_id = q.id and j.group_seq is not null)
      and not exists (select from jobs j where j.origin_queue_id = q.id)
    order by q.deleted_at limit p_limit for update skip locked);
begin
  if v_ids <> '{}' then
    update queues set dead_letter_queue_id = 1 where dead_letter_queue_id = any (v_ids);
    delete from counters where queue_id = any (v_ids);
    delete from limits where queue_id = any (v_ids);
    delete from lane_floors where queue_id = any (v_ids);
    delete from group_openings where queue_id = any (v_ids);
    delete from queues where id = any (v_ids);
  end if;
  return cardinality(v_ids);
end $$;

-- Housekeeping, each step on its own. problems: what could not be done, and why; null where all could.
create function {{schema}}.prune()
returns table (created integer, dropped integer, cleared integer, problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_found record;
begin
  -- whoever is at it does all of it, or the next round does
  perform 1 from locks where id = 0 for update skip locked;
  if not found then
    created := 0;
    dropped := 0;
    cleared := 0;
    return next;
    return;
  end if;
  begin
    perform bury_orphans();
  exception when others then
    problems := problems || format('jobs of deleted queues cannot be buried: %s', sqlerrm);
  end;
  begin
    perform forget_queues();
  exception when others then
    problems := problems || format('deleted queues cannot be forgotten: %s', sqlerrm);
  end;
  v_found := create_partitions();
  created := v_found.created;
  problems := problems || v_found.problems;
  v_found := drop_partitions();
  dropped := v_found.dropped;
  problems := problems || v_found.problems;
  begin
    perform note_days();
  exception when others then
    problems := problems || format('days of the history cannot be noted: %s', sqlerrm);
  end;
  cleared := clear_default(10000);
  -- of transactions that ended after the lease had
  delete from lease_notices n where not exists (select from leases l where l.id = n.lease_id);
  delete from left_settles s where not exists (select from leases l where l.id = s.lease_id);
  return next;
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
          select from jobs p where p.id = j.after_id and p.dead_at is null)) as is_waiting
        from jobs j where j.seq is null and j.run_at is not null and j.group_seq is null
        order by j.run_at limit 20
      ) x;
      v_is_due := v_is_due or exists (select from group_changes);
    elsif duty = 'schedule' then
      v_at := (select min(due_at) from schedules where due_at is not null);
    elsif duty = 'reap' then
      -- of pulled jobs there may be very many: the first that is due; one that a clock has put too far is found by reap()
      v_at := least((select min(case
        when l.expires_at > v_now + (l.lease_ms + 1000) * interval '1 millisecond' then v_now
        else l.expires_at end) from leases l where l.due_at is null),
        (select min(l.due_at) from leases l where l.due_at is not null));
    elsif duty = 'sweep' then
      v_is_due := exists (select from dedupes d where d.expires_at < v_now)
        or exists (select from group_rates r where r.next_at < v_now)
        or exists (select from reports r where r.looked_at < v_now - (
          select max(retention_ms) * interval '1 millisecond' + interval '1 day' from queues
          where deleted_at is null))
        or exists (select from seq_horizon h where h.decided > v_last or h.decided <= v_last - 1000)
        or exists (
          select from (
            select m.queue_id, m.lane, max(m.seen_seq) as seq from lease_marks m
            where m.seen_seq <= v_last group by m.queue_id, m.lane
          ) p
          left join lane_floors f on f.queue_id = p.queue_id and f.lane = p.lane
          cross join lateral (
            select count(*) filter (where y.lease_id is null) as ready, count(*) as seen from (
              select j.lease_id from jobs j
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
          select j.lease_id from jobs j where j.expires_at is not null and j.expires_at < v_now
          order by j.expires_at limit 100
        ) x);
    elsif duty = 'roll-up' then
      v_is_due := (select d.id from counter_deltas d where d.id > p_rolled order by d.id limit 1) is not null;
    elsif duty = 'tend' then
      v_is_due := exists (select from holds h where h.until <= v_now)
        or exists (select from holds h where h.at > v_now + interval '1 second')
        or exists (select from queues where paused_until <= v_now)
        or exists (select from queues where ageing_ms is not null and deleted_at is null
          and (aged_seq is not null or aged_at > v_now
            or aged_at < v_now - ageing_ms * interval '1 millisecond'))
        or exists (select from group_openings);
    elsif duty = 'fold-batches' then
      v_is_due := (select d.batch_id from batch_deltas d order by d.batch_id limit 1) is not null
        or exists (select from batches b where b.retry_at <= v_now)
        or exists (select from batches b where b.retry_at > v_now + interval '11 seconds')
        or exists (select from batches b where b.finished_at < v_now - interval '7 days');
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

do $$ begin perform {{schema}}.create_partitions(); end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.upkeep_due(text[], bigint);
drop function {{schema}}.prune();
drop function {{schema}}.forget_queues(integer);
drop function {{schema}}.bury_orphans();
drop function {{schema}}.queues_in_use();
drop function {{schema}}.clear_default(integer);
drop function {{schema}}.drop_partitions();
drop function {{schema}}.create_partitions();
drop function {{schema}}.history_kept();
drop function {{schema}}.note_days();
drop function {{schema}}.create_partition(date);
drop function {{schema}}.day_start(date);
drop function {{schema}}.roll_up(integer, bigint);
drop function {{schema}}.smoothed_rate(double precision, double precision, timestamptz, timestamptz);
drop function {{schema}}.expire(integer);
drop function {{schema}}.sweep(integer);
drop function {{schema}}.look_behind(integer, smallint, bigint, bigint, bigint);
drop function {{schema}}.raise_floor(integer, smallint, bigint);
drop function {{schema}}.decide_numbers(bigint);
drop function {{schema}}.reap(integer);
drop function {{schema}}.find_orphans(bigint, integer);
drop function {{schema}}.return_strays(bigint, bigint[]);
drop function {{schema}}.close_lease(bigint);
drop function {{schema}}.give_back({{schema}}.leases, boolean, integer);
drop function {{schema}}.promote(integer, timestamptz);
