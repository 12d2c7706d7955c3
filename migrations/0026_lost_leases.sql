-- What a lease held goes back: at a worker's good-bye, after its death, or where a claim's answer was lost.

-- Up Migration

-- Gives back what a lease holds, at most p_limit jobs. p_crashed: its worker is dead, so attempts
-- count and a job that keeps killing its workers is buried (see 0023_claim.sql). done: nothing is left
-- and the lease is gone.
-- The caller holds the lease's row for update, and gives left_groups to _change_groups().
create function {{schema}}._give_back(
  p_lease {{schema}}._leases, p_crashed boolean, p_limit integer,
  out requeued integer, out dead integer, out settled integer, out done boolean,
  out left_groups {{schema}}._groups[]
)
language plpgsql security definer {{settings}} as $$
declare
  v_mark _lease_marks;
  v_job _jobs;
  v_queue _queues;
  v_max_attempts integer;
  v_is_crash boolean;  -- it may have killed its worker
  v_is_alone boolean;  -- and then nobody else has
  v_is_last boolean;   -- of its attempts
  v_ask jsonb;         -- how its attempt has ended, where its worker has left that
  v_is_left boolean := exists (select from _left_settles where lease_id = p_lease.id);
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
  for v_mark in select * from _lease_marks where lease_id = p_lease.id order by queue_id, lane loop
    for v_job in
      select * from _jobs j
      where j.queue_id = v_mark.queue_id and j.lane = v_mark.lane and j.seq is not null
        and j.seq between v_mark.low_seq and v_mark.high_seq and j.lease_id = p_lease.id
      -- followers of one head have its seq: the last of them first, so that each finds what is before it
      order by j.seq, j.follow_seq desc nulls last
      limit greatest(p_limit - requeued - dead - settled, 0) for update skip locked
    loop
      if v_is_left then
        v_ask := (select ask from _left_settles
          where lease_id = p_lease.id and job_id = v_job.id and attempt = v_job.attempt);
        if v_ask is not null then
          left_groups := left_groups || (_settle_one(v_job, v_ask)).left_group;
          settled := settled + 1;
          continue;
        end if;
      end if;
      select * into v_queue from _queues where id = v_job.queue_id;
      if v_job.follow_seq is not null and not v_job.cancel_requested
        and (not p_crashed or _is_behind(v_job)) then
        v_job.uncounted := v_job.uncounted + 1;
        left_groups := left_groups || _return_follower(v_job);
        requeued := requeued + 1;
        continue;
      end if;
      v_is_crash := p_crashed and p_lease.held is null
        and (v_job.id = any (p_lease.aside)) is not true;
      v_is_alone := _is_alone(v_job.lane) and (v_job.id = any (p_lease.company)) is not true;
      if p_crashed and p_lease.held is not null then
        -- a pulled job whose visibility has ended: slow or gone, nobody knows
        v_job.errors := _add_error(v_job, jsonb_build_object('name', 'VisibilityEnded', 'message',
          format('consumer %s did not settle it in time', p_lease.worker)));
      elsif v_is_crash then
        v_job.crashes := v_job.crashes + 1;
        v_job.errors := _add_error(v_job, jsonb_build_object('name', 'LeaseExpired', 'message',
          format('worker %s stopped renewing its lease', p_lease.worker)
          || case when v_is_alone then ' while it ran this job alone' else '' end));
      else
        v_job.uncounted := v_job.uncounted + 1;  -- given back, or set aside: not begun
      end if;
      v_max_attempts := coalesce(v_job.max_attempts, v_queue.max_attempts);
      v_is_last := p_crashed and v_job.attempt - v_job.uncounted >= v_max_attempts;
      if v_job.cancel_requested then
        perform _finish(v_job, 'cancelled',
          coalesce(v_job.cancel_reason, 'cancelled while its worker was lost'));
        left_groups := left_groups || _left_group(v_job);
      elsif v_is_crash and v_is_alone and v_job.crashes >= v_queue.max_crashes then
        perform _bury(v_job, 'crashed its worker');
        left_groups := left_groups || _left_group(v_job);
        dead := dead + 1;
      elsif v_is_last and (v_max_attempts = 1 or v_is_alone or not v_is_crash) then
        perform _bury(v_job, 'attempts exhausted');
        left_groups := left_groups || _left_group(v_job);
        dead := dead + 1;
      else
        if v_is_crash then
          v_job.lane := _suspect_lane(v_job.lane, v_job.crashes,
            v_is_last or v_job.crashes + 1 >= v_queue.max_crashes);
          -- a neighbour may have cost it its last attempt: once more, alone
          v_job.uncounted := v_job.uncounted + v_is_last::integer;
        end if;
        perform _put_back(v_job, null, true);
        if v_job.follow_seq is not null then
          left_groups := left_groups || _new_head(v_job);
        end if;
        requeued := requeued + 1;
      end if;
    end loop;
    -- a row that a settle holds right now was skipped: the lease stays until it is known to be gone
    done := done and not exists (
      select from _jobs j
      where j.queue_id = v_mark.queue_id and j.lane = v_mark.lane and j.seq is not null
        and j.seq between v_mark.low_seq and v_mark.high_seq and j.lease_id = p_lease.id);
  end loop;
  if done then
    delete from _sleepers where lease_id = p_lease.id;
    perform _drop_watches(p_lease.id);
    delete from _lease_marks where lease_id = p_lease.id;
    delete from _lease_notices where lease_id = p_lease.id;
    delete from _left_settles where lease_id = p_lease.id;
    delete from _leases where id = p_lease.id;
  end if;
end $$;

-- A worker's good-bye. Waits for nothing: what a settle, or a transaction that cancels it, holds right now is left
-- to the reaper, which does not take it for crashed.
create function {{schema}}.close_lease(p_lease_id bigint) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_lease _leases;
  v_result record;
begin
  perform resign(p_lease_id);
  select * into v_lease from _leases where id = p_lease_id for update;
  if not found then
    return 0;
  end if;
  v_result := _give_back(v_lease, false, 100000);
  perform _change_groups(v_result.left_groups);
  if not v_result.done then
    update _leases set expires_at = clock(), due_at = case when due_at is not null then clock() end, aside = array(
      select j.id from _lease_marks m join _jobs j on j.queue_id = m.queue_id and j.lane = m.lane
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
  v_mark _lease_marks;
  v_strays jsonb := '[]';
begin
  perform 1 from _leases where id = p_lease_id for update;
  if not found then
    return null;
  end if;
  for v_mark in select * from _lease_marks where lease_id = p_lease_id loop
    v_strays := v_strays || coalesce((
      select jsonb_agg(jsonb_build_object('id', j.id, 'attempt', j.attempt, 'outcome', 'release'))
      from _jobs j
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
    array_agg((s.lease_id, s.queue_id, s.lane, s.seq - 1, 0, s.seq, clock())::_lease_marks)
      filter (where s.lease_id is not null and not exists (select from _leases l where l.id = s.lease_id)) as marks
  into v_orphans from (
    select j.id, j.lease_id, j.queue_id, j.lane, j.seq from _jobs j
    where j.id > p_after order by j.id limit p_limit) s;
  looked := v_orphans.looked;
  orphans := coalesce(cardinality(v_orphans.marks), 0);
  mark := case when looked < p_limit then 0 else v_orphans.last end;
  if orphans > 0 then
    insert into _leases (id, worker, lease_ms, opened_at, expires_at, held)
    select m.lease_id, 'unknown: its lease was lost', 1000, clock(), '-infinity', count(*)
    from unnest(v_orphans.marks) m group by m.lease_id order by m.lease_id
    on conflict (id) do nothing;
    insert into _lease_marks as m
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
  v_lease _leases;
  v_result record;
  v_left _groups[] := '{}';
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
  update _leases l set expires_at = clock() + l.lease_ms * interval '1 millisecond',
    due_at = case when l.due_at is not null then clock() + l.lease_ms * interval '1 millisecond' end
  where l.id = any (array(
    select f.id from _leases f
    where f.id = any (array(
        select id from _leases where due_at is null
          and expires_at > clock() + (lease_ms + 1000) * interval '1 millisecond' limit 100)
      || array(
        select u.id from (
          (select id, expires_at, lease_ms from _leases where id >= v_from order by id limit 200)
          union all (select id, expires_at, lease_ms from _leases where id < v_from order by id limit 200)
          limit 200) u
        where u.expires_at > clock() + (u.lease_ms + 1000) * interval '1 millisecond'))
    order by f.id for no key update skip locked));
  -- Of pulled jobs' those that were extended are looked at again when they end.
  update _leases l set due_at = l.expires_at where l.id = any (array(
    select f.id from _leases f where f.expires_at >= v_now and f.id = any (array(
      select u.id from (
        select id, expires_at from _leases where due_at < v_now order by due_at limit 2000) u
      where u.expires_at >= v_now))
    order by f.id for no key update skip locked));
  for v_lease in
    with worker as (
      select * from _leases l where l.due_at is null and l.expires_at < clock() order by l.expires_at, l.id
      limit 100 for update skip locked
    ), pulled as (
      select * from _leases l where l.due_at < v_now and l.expires_at < v_now order by l.due_at
      limit 100 for update skip locked
    )
    select * from (select * from worker union all select * from pulled) l order by l.expires_at, l.id
  loop
    exit when v_tried >= 100;
    v_tried := v_tried + 1;
    begin
      v_result := _give_back(v_lease, true, p_limit - v_requeued - v_dead);
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
      update _leases l set expires_at = clock(), due_at = case when l.due_at is not null then clock() end
      where l.id = v_lease.id;
    end if;
    exit when v_refused >= 5;
  end loop;
  perform _change_groups(v_left);
  return query select v_leases, v_requeued, v_dead;
end $$;

-- Down Migration

drop function {{schema}}.reap(integer);
drop function {{schema}}.find_orphans(bigint, integer);
drop function {{schema}}.return_strays(bigint, bigint[]);
drop function {{schema}}.close_lease(bigint);
drop function {{schema}}._give_back({{schema}}._leases, boolean, integer);
