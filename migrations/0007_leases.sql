-- Leases: one row a worker process, or one a pull request, however many jobs it holds. The heartbeat
-- renews that one row. Lock order everywhere: lease, then jobs by id, then queues.

-- Up Migration

-- Leases: one row a worker process, or one a pull request, however many jobs it holds. The heartbeat
-- renews that one row. Lock order everywhere: lease, then jobs by id, then queues.



create table {{schema}}._leases (
  id         bigint constraint leases_pkey primary key,  -- random: never repeats after a failover
  worker     text not null,
  lease_ms   integer not null,
  opened_at  timestamptz not null,
  expires_at timestamptz not null,
  -- of a lease that receive() opened: jobs under it; null for a worker's (see 0025_pull.sql)
  held       integer,
  -- of such a lease: it has not ended before, so the reaper does not look. Null for a worker's. Moved only when it
  -- has come, or when the lease is cut short: a heartbeat, an extension and a settle stay heap-only updates.
  due_at     timestamptz,
  info       jsonb not null default '{}',
  -- of a worker's: jobs that it has claimed but not begun, because they must not run beside what runs
  aside      bigint[],
  -- suspects that run, or are about to, beside other jobs: others may not wait for them without end. Should the
  -- lease end, each has crashed, and none is buried for that.
  company    bigint[]
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- Workers are few and looked at all, leases of pulled jobs may be many and are looked at when they are due.
create index leases_workers_idx on {{schema}}._leases (id) where due_at is null;

create index leases_due_idx on {{schema}}._leases (due_at) where due_at is not null;

-- What others want of a worker: only ever inserted, so that no open transaction of theirs holds the row that
-- the heartbeat renews. Without a reason: look (a cancel request, or an order to drain), gone when it was told.
-- With one: it is to finish what it holds and end.
create table {{schema}}._lease_notices (
  lease_id     bigint not null,
  id           bigint generated always as identity,
  drain_reason text,
  constraint lease_notices_pkey primary key (lease_id, id)
) with (autovacuum_vacuum_threshold = 100);

-- How attempts ended whose jobs an application's open transaction had when their worker stopped: the lease gives them
-- back so, instead of having them run again (see _give_back() in 0026_lost_leases.sql). Only inserted.
create table {{schema}}._left_settles (
  lease_id bigint not null,
  job_id   bigint not null,
  attempt  integer not null,
  ask      jsonb not null,  -- as settle() takes it
  constraint left_settles_pkey primary key (lease_id, job_id)
);

-- Where a lease has been: every job it holds has a seq in [low_seq, high_seq] of that lane. So a dead
-- worker's jobs are found without reading the backlog and without an index that a claim would have
-- to write. high_seq runs ahead of what was claimed so that the row is written about once a second.
-- seen_seq is what its cursor had really passed at marked_at.
create table {{schema}}._lease_marks (
  lease_id  bigint not null,
  queue_id  integer not null,
  lane      smallint not null,
  low_seq   bigint not null,
  seen_seq  bigint not null,
  high_seq  bigint not null,
  marked_at timestamptz not null,
  constraint lease_marks_pkey primary key (lease_id, queue_id, lane)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- p_is_pulled: nobody renews it, see 0025_pull.sql.
create function {{schema}}.open_lease(
  p_worker text, p_lease_ms integer, p_info jsonb default '{}', p_is_pulled boolean default false
) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
begin
  if p_worker is null or length(p_worker) not between 1 and 200 then
    raise exception 'a worker name has 1 to 200 characters' using errcode = 'HW023',
      hint = 'for example the name of its host and its process id';
  end if;
  if p_lease_ms is null or p_lease_ms not between 100 and 43200000 then
    raise exception 'lease of % ms is out of bounds', coalesce(p_lease_ms::text, 'null')
      using errcode = 'HW023', hint = 'use 100 ms to 12 hours';
  end if;
  if _is_too_long(p_info, 1048576) or _is_too_deep(p_info) then
    raise exception 'the info of a worker is too long' using errcode = 'HW023',
      hint = 'use at most 1048576 bytes of JSON and 500 levels';
  end if;
  -- 63 bits of a strong random number (gen_random_uuid() draws from the system's generator)
  v_id := (('x' || translate(substr(gen_random_uuid()::text, 1, 8)
    || substr(gen_random_uuid()::text, 1, 8), '-', ''))::bit(64) >> 1)::bigint;
  insert into _leases (id, worker, lease_ms, opened_at, expires_at, due_at, info)
  select v_id, p_worker, p_lease_ms, n, n + p_lease_ms * interval '1 millisecond',
    case when p_is_pulled then n + p_lease_ms * interval '1 millisecond' end, coalesce(p_info, '{}')
  from clock() n;
  return v_id;
end $$;

-- Renews a lease, an expired one too as long as nobody has reaped it: its jobs are still its own. Nobody but
-- its worker and the reaper locks its row.
create function {{schema}}.heartbeat(p_lease_id bigint)
returns table (alive boolean, attention boolean)
language plpgsql security definer {{settings}} as $$
declare
  v_attention boolean;
begin
  update _leases l set expires_at = clock() + l.lease_ms * interval '1 millisecond'
  where l.id = p_lease_id;
  if not found then
    return query select false, false;
    return;
  end if;
  v_attention := exists (select from _lease_notices n
    where n.lease_id = p_lease_id and n.drain_reason is null);
  if v_attention then
    -- one that comes between the two is told of as well: the worker looks when this is committed
    delete from _lease_notices n where n.lease_id = p_lease_id and n.drain_reason is null;
  end if;
  return query select true, v_attention;
end $$;

-- Visibility: the lease now ends p_lease_ms from now.
create function {{schema}}.extend(p_lease_id bigint, p_lease_ms integer) returns timestamptz
language plpgsql security definer {{settings}} as $$
declare
  v_expires_at timestamptz := clock() + p_lease_ms * interval '1 millisecond';
begin
  if p_lease_ms is null or p_lease_ms not between 0 and 43200000 then
    raise exception 'visibility of % ms is out of bounds', coalesce(p_lease_ms::text, 'null')
      using errcode = 'HW023', hint = 'use 0 to 12 hours, in milliseconds';
  end if;
  update _leases set expires_at = v_expires_at,
    due_at = case when due_at > v_expires_at then v_expires_at else due_at end,
    lease_ms = case when held is null then lease_ms else greatest(p_lease_ms, 100) end
  where id = p_lease_id and expires_at > clock();
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'its jobs run elsewhere or will; drop the work';
  end if;
  return v_expires_at;
end $$;

-- Every notification is a hint, and goes this way: the server keeps them all until the last listener has read
-- them, and once there is no more room every transaction that notifies fails as it commits, an application's
-- own too. So none is sent when half of that is used, and whoever would have heard it looks at its poll.
-- Called only when somebody sleeps, or waits.
create function {{schema}}._notify_lease(p_lease_id bigint, p_payload text) returns void
language sql volatile as $$
  select pg_catalog.pg_notify('howdah_' || p_lease_id, p_payload)
  where pg_catalog.pg_notification_queue_usage() < 0.5
$$;

-- Claim: take ready jobs under a lease, in order of lane and readiness.



-- Notes where a lease has been (see _lease_marks). Called before the claim's update so that no job is
-- ever held outside its lease's marks. p_seen: how far the cursor has come; p_top: the highest seq of a job.
create function {{schema}}._mark_lease(
  p_lease_id bigint, p_queue_id integer, p_lane smallint, p_after bigint, p_seen bigint,
  p_top bigint default null
) returns void
language sql security definer {{settings}} as $$
  insert into _lease_marks as m (lease_id, queue_id, lane, low_seq, seen_seq, high_seq, marked_at)
  values (p_lease_id, p_queue_id, p_lane, p_after, p_seen, greatest(p_seen, p_top) + 20000, clock())
  on conflict (lease_id, queue_id, lane) do update set
    low_seq = least(m.low_seq, excluded.low_seq),
    seen_seq = greatest(m.seen_seq, excluded.seen_seq),
    high_seq = greatest(m.high_seq, excluded.high_seq),
    marked_at = excluded.marked_at
$$;

-- The lock keeps the reaper from burying a lease between here and the commit. Claims that find nothing do without:
-- they write nothing.
create function {{schema}}._lock_lease(p_lease_id bigint) returns void
language plpgsql as $$
declare
  v_is_pull boolean;
begin
  select held is not null into v_is_pull from {{schema}}._leases where id = p_lease_id for key share;
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'open a new lease';
  elsif v_is_pull then
    -- it goes with the last of those that receive() gave out: others would be nobody's then
    raise exception 'lease % belongs to jobs that receive() gave out', p_lease_id
      using errcode = 'HW023', hint = 'receive more, or open a lease to claim under';
  end if;
end $$;

-- Jobs have left a lease that receive() opened. With the last one it goes. The caller holds its row.
create function {{schema}}._let_go(p_lease_id bigint, p_count integer) returns void
language plpgsql security definer {{settings}} as $$
begin
  update _leases set held = held - p_count where id = p_lease_id and held > p_count;
  if not found then
    delete from _leases where id = p_lease_id and held is not null;
    if found then
      delete from _lease_marks where lease_id = p_lease_id;
    end if;
  end if;
end $$;

-- Suspects: jobs whose worker died while it held them. Which of them killed it nobody knows, so they go
-- to lanes of their own, which are served first, and never beside other jobs: after the first crash a few
-- suspects together, then each alone. Whatever ends an attempt in order clears it. A job is buried for its
-- crashes only when it was alone at the last one, so never for what its neighbours did.
--
-- Lanes of suspects are below 0: the lane at the head of their priority less 1000 in company, less 2000
-- alone. A queue of which no worker ever died has none, and its claims do not look for any.

-- A worker says which suspects wait until it runs nothing else; null: they begin. Should it die meanwhile,
-- they have not crashed. And which run in company: should it die then, they are not buried for it. Both
-- replace what it has said before. Returns false when the lease has ended.
create function {{schema}}.set_aside(p_lease_id bigint, p_ids bigint[], p_company bigint[] default null)
returns boolean
language plpgsql security definer {{settings}} as $$
begin
  update _leases set aside = p_ids, company = p_company where id = p_lease_id;
  return found;
end $$;

-- Down Migration

drop function {{schema}}.set_aside(bigint, bigint[], bigint[]);
drop function {{schema}}._let_go(bigint, integer);
drop function {{schema}}._lock_lease(bigint);
drop function {{schema}}._mark_lease(bigint, integer, smallint, bigint, bigint, bigint);
drop function {{schema}}._notify_lease(bigint, text);
drop function {{schema}}.extend(bigint, integer);
drop function {{schema}}.heartbeat(bigint);
drop function {{schema}}.open_lease(text, integer, jsonb, boolean);
drop table {{schema}}._lease_marks;
drop table {{schema}}._left_settles;
drop table {{schema}}._lease_notices;
drop table {{schema}}._leases;
