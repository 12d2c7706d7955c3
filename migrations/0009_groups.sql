-- Groups: FIFO lanes, concurrency per key and fairness between keys are one mechanism. A job with a group
-- key becomes ready only when its group may run one more (group_concurrency of its queue; 1 is strict
-- order). The others are blocked, outside the claim index, in the order of group_seq: their ids, or
-- where a redriven job joined again. What ends a member admits the next at the tail of the ready jobs,
-- so keys take turns. A member that is retried, snoozed, released or reaped keeps its turn.
--
-- Lock order: lease, jobs that are not blocked by id, queues, groups by (queue_id, key), blocked jobs.
-- Only who holds the row of a group locks or changes its blocked jobs. A statement that ends several
-- jobs therefore changes their groups once, at its end: _change_groups().
--
-- An application's transaction that has enqueued into a group holds its row until it ends. No settle and no
-- upkeep waits for that: what they change is written into _group_changes, which nobody waits for, and whoever
-- holds the group next folds it in; at the latest promote(), a moment after the row was let go. What is not folded
-- in yet can only be turns that are free already: a group never runs more than it may.
--
-- Rates per key: a member that is admitted sooner than the rate of its group allows is scheduled until
-- then, and the others wait behind it as behind any head. _group_rates remembers longer than the group
-- lasts. What counts is a turn: another attempt of the same member is paced by its backoff.

-- Up Migration

-- One row a group that has members. Written by enqueue and by what ends a job.
create table {{schema}}._groups (
  queue_id integer not null,
  key      text collate "C" not null,
  admitted integer not null,       -- members that are ready, running or scheduled: they hold a turn
  waiting  integer not null,       -- members that are blocked
  mark     bigint not null,        -- every waiting member has a group_seq above it
  head_id  bigint,                 -- the member admitted last
  head_at  timestamptz,
  constraint groups_pkey primary key (queue_id, key)
) with (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 0
);

-- Groups: FIFO lanes, concurrency per key and fairness between keys are one mechanism. A job with a group
-- key becomes ready only when its group may run one more (group_concurrency of its queue; 1 is strict
-- order). The others are blocked, outside the claim index, in the order of group_seq: their ids, or
-- where a redriven job joined again. What ends a member admits the next at the tail of the ready jobs,
-- so keys take turns. A member that is retried, snoozed, released or reaped keeps its turn.
--
-- Lock order: lease, jobs that are not blocked by id, queues, groups by (queue_id, key), blocked jobs.
-- Only who holds the row of a group locks or changes its blocked jobs. A statement that ends several
-- jobs therefore changes their groups once, at its end: _change_groups().
--
-- An application's transaction that has enqueued into a group holds its row until it ends. No settle and no
-- upkeep waits for that: what they change is written into _group_changes, which nobody waits for, and whoever
-- holds the group next folds it in; at the latest promote(), a moment after the row was let go. What is not folded
-- in yet can only be turns that are free already: a group never runs more than it may.



-- Changes of groups whose row somebody else had: only ever inserted, and taken out by who holds the group.
create table {{schema}}._group_changes (
  id       bigint generated always as identity constraint group_changes_pkey primary key,
  queue_id integer not null,
  key      text collate "C" not null,
  admitted integer not null,
  waiting  integer not null,
  mark     bigint,
  head_id  bigint
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create index group_changes_key_idx on {{schema}}._group_changes (queue_id, key);

-- What the end of this member changes in its group; null for a job that is in none. Dead ones are not.
create function {{schema}}._left_group(p_job {{schema}}._jobs) returns {{schema}}._groups
language sql immutable as $$
  select case when p_job.group_key is not null and p_job.dead_at is null then
    (p_job.queue_id, p_job.group_key, -(p_job.group_seq is null)::integer,
      -(p_job.group_seq is not null)::integer, null, null, null)::{{schema}}._groups end
$$;

-- Locks a member's group unless somebody else has it: for upkeep, which must not wait for a producer.
create function {{schema}}._try_group(p_job {{schema}}._jobs) returns boolean
language plpgsql security definer {{settings}} as $$
begin
  perform 1 from _groups g where g.queue_id = p_job.queue_id and g.key = p_job.group_key
  for update skip locked;
  return found or p_job.dead_at is not null;
end $$;

-- Locks a group for a settle or for upkeep, which must not wait for a producer's transaction. Most hold
-- the row for the moment of a commit: until p_patience it is tried again.
create function {{schema}}._seize_group(
  p_queue_id integer, p_key text, p_patience timestamptz, out seized {{schema}}._groups, out is_held boolean
)
language plpgsql security definer {{settings}} as $$
begin
  loop
    select * into seized from _groups g where g.queue_id = p_queue_id and g.key = p_key
    for update skip locked;
    is_held := seized.key is null
      and exists (select from _groups g where g.queue_id = p_queue_id and g.key = p_key);
    exit when not is_held or clock_timestamp() >= p_patience;
    perform pg_sleep(0.001);
  end loop;
end $$;

-- Adds changes to the books of groups and admits who may run now. Each change names a queue and a key,
-- by how much admitted and waiting change, where a member joins what mark must not exceed, and where
-- another has become the head its id. Once a statement, after all its jobs and queues are locked. Nulls among the changes are passed over.
-- p_may_wait: for who changes groups in a transaction of an application, and is not upkeep: waits for their rows.
create function {{schema}}._change_groups(
  p_changes {{schema}}._groups[], p_ring boolean default true, p_may_wait boolean default false
) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_change record;
  v_group _groups;
  v_behind record;
  v_queue_id integer;
  v_max integer;
  v_is_paced boolean;
  v_has_behind boolean;
  v_next bigint[];
  v_mark bigint;
  v_id bigint;
  v_ids bigint[] := '{}';
  v_seized record;
  v_is_left boolean := false;
  v_patience timestamptz;
begin
  for v_change in
    select c.queue_id, c.key, sum(c.admitted)::integer as admitted,
      sum(c.waiting)::integer as waiting, min(c.mark) as mark, max(c.head_id) as head_id
    from unnest(p_changes) c where c.queue_id is not null
    group by c.queue_id, c.key order by c.queue_id, c.key
  loop
    if p_may_wait and v_change.waiting > 0 then
      insert into _groups as g (queue_id, key, admitted, waiting, mark)
      values (v_change.queue_id, v_change.key, 0, v_change.waiting, v_change.mark)
      on conflict (queue_id, key) do update set
        waiting = g.waiting + excluded.waiting, mark = least(g.mark, excluded.mark)
      returning * into v_group;
    else
      if p_may_wait then
        select * into v_group from _groups g
        where g.queue_id = v_change.queue_id and g.key = v_change.key for update;
      else
        select * into v_group from _groups g
        where g.queue_id = v_change.queue_id and g.key = v_change.key for update skip locked;
        if not found then
          -- all of a statement together are tried for so long
          v_patience := coalesce(v_patience, clock_timestamp() + interval '10 milliseconds');
          v_seized := _seize_group(v_change.queue_id, v_change.key, v_patience);
          v_group := v_seized.seized;
          if v_seized.is_held then
            insert into _group_changes (queue_id, key, admitted, waiting, mark, head_id)
            select v_change.queue_id, v_change.key, v_change.admitted, v_change.waiting, v_change.mark,
              v_change.head_id
            where (v_change.admitted, v_change.waiting) <> (0, 0) or v_change.head_id is not null;
            v_is_left := v_is_left or found;
            continue;
          end if;
        end if;
      end if;
      if v_group.key is null then
        -- a job must not hang because of the books: check_groups() tells of them
        raise warning 'group % of queue % has no row', v_change.key, v_change.queue_id;
        continue;
      end if;
      v_group.waiting := v_group.waiting + v_change.waiting;
      v_group.mark := least(v_group.mark, v_change.mark);
    end if;
    v_group.head_id := coalesce(v_change.head_id, v_group.head_id);
    v_group.admitted := v_group.admitted + v_change.admitted;
    if v_queue_id is distinct from v_change.queue_id then
      v_queue_id := v_change.queue_id;
      select q.group_concurrency, q.group_rate_max is not null,
        exists (select from _group_changes c where c.queue_id = v_queue_id)
      into v_max, v_is_paced, v_has_behind
      from _queues q where q.id = v_queue_id;
    end if;
    if v_has_behind then
      with gone as (
        delete from _group_changes c where c.queue_id = v_queue_id and c.key = v_group.key
        returning c.admitted, c.waiting, c.mark, c.head_id
      )
      select coalesce(sum(admitted), 0)::integer as admitted, coalesce(sum(waiting), 0)::integer as waiting,
        min(mark) as mark, max(head_id) as head_id into v_behind from gone;
      v_group.admitted := v_group.admitted + v_behind.admitted;
      v_group.waiting := v_group.waiting + v_behind.waiting;
      v_group.mark := least(v_group.mark, v_behind.mark);
      v_group.head_id := coalesce(v_behind.head_id, v_group.head_id);
    end if;

    if v_group.waiting > 0 and v_group.admitted < v_max then
      select array_agg(j.id), max(j.group_seq) into v_next, v_mark from (
        -- the mark passes over entries of those admitted since the last vacuum
        select j.id, j.group_seq from _jobs j
        where j.queue_id = v_group.queue_id and j.group_key = v_group.key
          and j.group_seq > v_group.mark
        order by j.group_seq limit v_max - v_group.admitted
      ) j;
      if v_next is not null then
        if v_is_paced then
          perform _pace_members(v_queue_id, v_group.key, v_next);
        end if;
        foreach v_id in array v_next loop
          v_ids := v_ids || v_id;  -- one by one it is appended in place, not copied
        end loop;
        v_group.admitted := v_group.admitted + cardinality(v_next);
        v_group.waiting := v_group.waiting - cardinality(v_next);
        v_group.mark := v_mark;
        v_group.head_id := v_next[cardinality(v_next)];
        v_group.head_at := clock();
      end if;
    end if;
    if v_group.admitted = 0 and v_group.waiting = 0 then
      delete from _groups g where g.queue_id = v_group.queue_id and g.key = v_group.key;
    else
      update _groups g set admitted = v_group.admitted, waiting = v_group.waiting,
        mark = v_group.mark, head_id = v_group.head_id, head_at = v_group.head_at
      where g.queue_id = v_group.queue_id and g.key = v_group.key;
    end if;
  end loop;
  if v_ids <> '{}' then
    perform _admit(v_ids, p_ring);
  end if;
  if v_is_left and p_ring then
    perform _ring_promoter(clock());
  end if;
end $$;

-- Folds what settles and upkeep have left in groups that somebody held, where nobody holds them now. Looks at the
-- oldest 5,000 changes, and at as many from a place drawn at random, so that those of groups which
-- are held for long hide no others. is_left: there are more.
create function {{schema}}._fold_groups(
  p_limit integer default 1000, out folded integer, out is_left boolean
)
language plpgsql security definer {{settings}} as $$
declare
  v_first bigint := (select min(id) from _group_changes);
  v_from bigint;
  v_changes _groups[];
begin
  folded := 0;
  is_left := v_first is not null;
  if not is_left then
    return;
  end if;
  v_from := v_first + floor(random() * ((select max(id) from _group_changes) - v_first + 1));
  select coalesce(array_agg((f.queue_id, f.key, 0, 0, null, null, null)::_groups), '{}') into v_changes
  from (
    select g.queue_id, g.key from (
      select distinct c.queue_id, c.key from (
        (select queue_id, key from _group_changes order by id limit 5000)
        union all
        (select queue_id, key from _group_changes where id >= v_from order by id limit 5000)
      ) c
    ) d join _groups g on g.queue_id = d.queue_id and g.key = d.key
    order by g.queue_id, g.key limit least(greatest(p_limit, 1), 10000) for update of g skip locked
  ) f;
  perform _change_groups(v_changes);
  folded := cardinality(v_changes);
  -- of groups without a row, which only a hand can have deleted
  delete from _group_changes c where c.id in (select id from _group_changes order by id limit 5000)
    and not exists (select from _groups g where g.queue_id = c.queue_id and g.key = c.key);
  is_left := exists (select from _group_changes);
end $$;

-- Blocked jobs get their turn, in the order given: ready, or scheduled until they are due and the job before
-- them of their dedupe key is over. The caller holds the rows of their groups.
create function {{schema}}._admit(p_ids bigint[], p_ring boolean) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_ids bigint[];
  v_seqs bigint[] := array(select nextval('job_seq') from generate_series(1, cardinality(p_ids)));
  v_queue_ids integer[];
  v_ready integer[];
  v_soonest timestamptz;
begin
  -- sorted, so that the place of an id is found by halving
  select array_agg(u.id order by u.id), array_agg(u.seq order by u.id) into v_ids, v_seqs
  from unnest(p_ids, v_seqs) u (id, seq);
  with changed as (
    -- (select v_ids) is worked out once; else the list would be copied for each job
    update _jobs j set group_seq = null,
      seq = case when j.run_at > v_now or j.after_id is not null and _is_pending(j.after_id) then null
        else v_seqs[width_bucket(j.id, (select v_ids))] end,
      -- promote() finds what has a time
      run_at = case when j.after_id is not null then coalesce(j.run_at, v_now) else j.run_at end
    where j.id = any (v_ids)
    returning j.queue_id, j.seq, j.run_at
  ), counted as (
    insert into _counter_deltas (queue_id, blocked, ready, scheduled)
    select queue_id, -count(*), count(seq), count(*) - count(seq) from changed group by queue_id
    returning queue_id, ready
  )
  select c.queue_ids, c.ready, d.soonest into v_queue_ids, v_ready, v_soonest
  from (select array_agg(queue_id) as queue_ids, array_agg(ready) as ready from counted) c,
    (select min(run_at) filter (where seq is null) as soonest from changed) d;
  if p_ring then
    perform _ring_queue(u.q, u.n, 0) from unnest(v_queue_ids, v_ready) u (q, n)
    where u.n > 0 and exists (select from _sleepers s where s.queue_id = u.q);
    if v_soonest is not null then
      perform _ring_promoter(v_soonest);
    end if;
  end if;
end $$;

-- Queues whose group_concurrency has grown: up to which key their groups were looked at since.
create table {{schema}}._group_openings (
  queue_id   integer constraint group_openings_pkey primary key,
  after      text collate "C" not null default '',
  is_skipped boolean not null default false  -- a group was held by somebody: once more from the first
);

-- After group_concurrency has grown: groups of the queue that may run more now. A bounded step, which waits for
-- no group: tend_queues() goes on until all were looked at. Returns how many were opened.
create function {{schema}}._open_groups(p_queue_id integer, p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_opening _group_openings;
  v_max integer := (select group_concurrency from _queues where id = p_queue_id);
  v_seen integer;
  v_last text;
  v_keys text[];
  v_open _groups[];
begin
  select * into v_opening from _group_openings where queue_id = p_queue_id for update skip locked;
  if not found then
    return 0;
  end if;
  select count(*), max(key), (array_agg(key order by key) filter (where waiting > 0 and admitted < v_max))[:p_limit]
  into v_seen, v_last, v_keys from (
    select g.key, g.waiting, g.admitted from _groups g
    where g.queue_id = p_queue_id and g.key > v_opening.after order by g.key limit 20 * p_limit) g;
  v_open := array(
    select (g.queue_id, g.key, 0, 0, null, null, null)::_groups from _groups g
    where g.queue_id = p_queue_id and g.key = any (v_keys) order by g.key for update skip locked);
  perform _change_groups(v_open);
  if cardinality(v_keys) = p_limit then
    v_last := v_keys[p_limit];
  elsif v_seen < 20 * p_limit then
    v_last := null;  -- the end
  end if;
  v_opening.is_skipped := v_opening.is_skipped or cardinality(v_open) < cardinality(v_keys);
  if v_last is null and not coalesce(v_opening.is_skipped, false) then
    delete from _group_openings where queue_id = p_queue_id;
  else
    update _group_openings set after = coalesce(v_last, ''),
      is_skipped = coalesce(v_opening.is_skipped, false) and v_last is not null
    where queue_id = p_queue_id;
  end if;
  return cardinality(v_open);
end $$;

-- For a policy that changes now. Its transaction locks no group: it may stay open, and a thousand groups with it.
create function {{schema}}._begin_opening(p_queue_id integer) returns void
language sql security definer {{settings}} as $$
  insert into _group_openings (queue_id) values (p_queue_id)
  on conflict (queue_id) do update set after = '', is_skipped = false;
$$;

-- Locks jobs whatever their state, with their groups, in the lock order. Where one was admitted while another
-- lock was waited for, all are let go and everything begins again, a hundred times at most. Leases are not
-- locked: a transaction left open would hold up their heartbeats.
-- Rows are counted and lists are compared as sets: a walk over a list for each job would be quadratic.
create function {{schema}}._lock_jobs(p_ids bigint[]) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_unblocked bigint;
  v_blocked bigint[];
  v_group record;
  v_count bigint;
begin
  for v_try in 1 .. 100 loop
    begin
      select count(*) into v_unblocked from (
        select 1 from _jobs where id = any (p_ids) and group_seq is null order by id for update) u;
      v_blocked := array(select id from _jobs where id = any (p_ids) and group_seq is not null);
      v_count := 0;
      if v_blocked <> '{}' then
        for v_group in
          select distinct queue_id, group_key from _jobs
          where id = any (p_ids) and group_key is not null and dead_at is null order by 1, 2
        loop
          perform 1 from _groups g
          where g.queue_id = v_group.queue_id and g.key = v_group.group_key for update;
        end loop;
        select count(*) into v_count from (
          select 1 from _jobs where id = any (v_blocked) and group_seq is not null
          order by queue_id, group_key, group_seq for update) b;
      end if;
      -- a row that is locked stays, so others were admitted between the two where there are more
      if v_unblocked + v_count = (select count(*) from _jobs where id = any (p_ids)) then
        return;
      end if;
      raise exception 'admitted meanwhile' using errcode = 'HW059';
    exception when sqlstate 'HW059' then
      null;
    end;
  end loop;
  raise exception 'jobs are admitted too often to be locked' using errcode = '40001',
    hint = 'try again';
end $$;

-- Groups whose books differ from their rows: none, unless somebody wrote tables by hand. Reads all jobs.
create function {{schema}}.check_groups()
returns table (
  queue text, group_key text, admitted integer, admitted_rows bigint, waiting integer,
  waiting_rows bigint, problem text
)
language sql stable security definer set search_path = {{schema}}, pg_temp as $$
  select q.name, coalesce(g.key, j.key), g.admitted, coalesce(j.admitted, 0), g.waiting,
    coalesce(j.waiting, 0),
    case when g.key is null then 'no row'
      when (g.admitted, g.waiting) is distinct from (coalesce(j.admitted, 0), coalesce(j.waiting, 0))
        then 'counts differ'
      when j.first_seq <= g.mark then 'a member waits behind the mark'
      when g.waiting > 0 and g.admitted < q.group_concurrency then 'stalled' end
  from (
    select r.queue_id, r.key, (r.admitted + coalesce(c.admitted, 0))::integer as admitted,
      (r.waiting + coalesce(c.waiting, 0))::integer as waiting, least(r.mark, c.mark) as mark,
      c.key is not null as is_behind
    from _groups r left join (
      select queue_id, key, sum(admitted) as admitted, sum(waiting) as waiting, min(mark) as mark
      from _group_changes group by queue_id, key
    ) c on c.queue_id = r.queue_id and c.key = r.key
  ) g
  full join (
    select queue_id, group_key as key, count(*) filter (where group_seq is null) as admitted,
      count(group_seq) as waiting, min(group_seq) as first_seq
    from _jobs where group_key is not null and dead_at is null group by queue_id, group_key
  ) j on j.queue_id = g.queue_id and j.key = g.key
  join _queues q on q.id = coalesce(g.queue_id, j.queue_id)
  where g.key is null or j.first_seq <= g.mark
    or (g.admitted, g.waiting) is distinct from (coalesce(j.admitted, 0), coalesce(j.waiting, 0))
    -- what is not folded in yet, or opened yet, is upkeep's to see to
    or not g.is_behind and not exists (select from _group_openings o where o.queue_id = q.id) and (g.waiting > 0 and g.admitted < q.group_concurrency
      or g.admitted = 0 and g.waiting = 0)
$$;

-- Turns of several members. A strict group (group_concurrency 1) of short jobs would spend its time on
-- round trips: so a claim may take, with the head of a group, the members next in line. They are its
-- followers: held by the same lease, counted as admitted, run one after another, each after the one
-- before it is settled. So the order is as strict as without them, through the death of the worker too.
--   complete, cancel, expire, dead-letter   the next follower runs
--   fail, snooze                            the member is scheduled or ready: it is the head now; those
--                                           behind it are released
--   release                                 a follower waits again, at the place it had
-- A turn is bounded by p_turn, and ends at a member that is not due, of another priority, or large.
-- Queues with limits or a rate per key have no followers.
--
-- Rates per key: a member that is admitted sooner than the rate of its group allows is scheduled until
-- then, and the others wait behind it as behind any head. _group_rates remembers longer than the group
-- lasts. What counts is a turn: another attempt of the same member is paced by its backoff.



-- When the next turn of a group would be due if turns came evenly (GCRA); only of queues with a rate per key,
-- and only while that is to come. Written by who holds the row of the group.
create table {{schema}}._group_rates (
  queue_id integer not null,
  key      text collate "C" not null,
  next_at  timestamptz not null,
  constraint group_rates_pkey primary key (queue_id, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index group_rates_next_idx on {{schema}}._group_rates (next_at);

-- Members about to be admitted, in the order given, get the time at which the rate of their group allows
-- it, where that is to come.
create function {{schema}}._pace_members(p_queue_id integer, p_key text, p_ids bigint[]) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_step interval;
  v_ahead interval;  -- how far turns may be ahead of even distances: the burst
  v_next_at timestamptz;
  v_due timestamptz;
  v_id bigint;
  v_run_at timestamptz;
begin
  select q.group_rate_ms * interval '1 millisecond' / q.group_rate_max,
    (q.group_rate_burst - 1) * (q.group_rate_ms * interval '1 millisecond' / q.group_rate_max)
  into v_step, v_ahead
  from _queues q where q.id = p_queue_id;
  v_next_at := (select r.next_at from _group_rates r where r.queue_id = p_queue_id and r.key = p_key);
  for v_id, v_run_at in
    select j.id, j.run_at from unnest(p_ids) with ordinality u (id, n) join _jobs j on j.id = u.id
    order by u.n
  loop
    v_due := greatest(v_now, v_run_at, v_next_at - v_ahead);
    v_next_at := greatest(v_due, v_next_at) + v_step;
    update _jobs j set run_at = v_due where j.id = v_id and v_due > v_now
      and j.run_at is distinct from v_due;
  end loop;
  insert into _group_rates (queue_id, key, next_at) values (p_queue_id, p_key, v_next_at)
  on conflict (queue_id, key) do update set next_at = excluded.next_at;
end $$;

-- What is over says nothing any more.
create function {{schema}}._prune_group_rates(p_limit integer default 10000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_pruned integer;
begin
  delete from _group_rates where ctid = any (array(
    select r.ctid from _group_rates r where r.next_at < (select clock())
    order by r.next_at limit least(greatest(p_limit, 0), 100000) for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- For _change_groups(): a follower that is to run again is now the member the others wait for.
create function {{schema}}._new_head(p_job {{schema}}._jobs) returns {{schema}}._groups
language sql immutable as $$
  select (p_job.queue_id, p_job.group_key, 0, 0, null, p_job.id, null)::{{schema}}._groups
$$;

-- Down Migration

drop function {{schema}}._new_head({{schema}}._jobs);
drop function {{schema}}._prune_group_rates(integer);
drop function {{schema}}._pace_members(integer, text, bigint[]);
drop table {{schema}}._group_rates;
drop function {{schema}}.check_groups();
drop function {{schema}}._lock_jobs(bigint[]);
drop function {{schema}}._begin_opening(integer);
drop function {{schema}}._open_groups(integer, integer);
drop table {{schema}}._group_openings;
drop function {{schema}}._admit(bigint[], boolean);
drop function {{schema}}._fold_groups(integer);
drop function {{schema}}._change_groups({{schema}}._groups[], boolean, boolean);
drop function {{schema}}._seize_group(integer, text, timestamptz);
drop function {{schema}}._try_group({{schema}}._jobs);
drop function {{schema}}._left_group({{schema}}._jobs);
drop table {{schema}}._group_changes;
drop table {{schema}}._groups;
