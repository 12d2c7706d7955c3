-- Leases: one row a worker process, or one a pull request, however many jobs it holds. The heartbeat
-- renews that one row. Lock order everywhere: lease, then jobs by id, then queues.

-- Up Migration

create table {{schema}}.leases (
  id         bigint constraint leases_pkey primary key,  -- random: never repeats after a failover
  worker     text not null,
  lease_ms   integer not null,
  opened_at  timestamptz not null,
  expires_at timestamptz not null,
  -- of a lease that receive() opened: jobs under it; null for a worker's (see 0014_pull.sql)
  held       integer,
  -- of such a lease: it has not ended before, so the reaper does not look. Null for a worker's. Moved only when it
  -- has come, or when the lease is cut short: a heartbeat, an extension and a settle stay heap-only updates.
  due_at     timestamptz,
  info       jsonb not null default '{}'
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- Workers are few and looked at all, leases of pulled jobs may be many and are looked at when they are due.
create index leases_workers_idx on {{schema}}.leases (id) where due_at is null;
create index leases_due_idx on {{schema}}.leases (due_at) where due_at is not null;

-- What others want of a worker: only ever inserted, so that no open transaction of theirs holds the row that
-- the heartbeat renews. Without a reason: look (a cancel request, or an order to drain), gone when it was told.
-- With one: it is to finish what it holds and end.
create table {{schema}}.lease_notices (
  lease_id     bigint not null,
  id           bigint generated always as identity,
  drain_reason text,
  constraint lease_notices_pkey primary key (lease_id, id)
) with (autovacuum_vacuum_threshold = 100);

-- How attempts ended whose jobs an application's open transaction had when their worker stopped: the lease gives them
-- back so, instead of having them run again (see give_back() in 0009_maintenance.sql). Only inserted.
create table {{schema}}.left_settles (
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
create table {{schema}}.lease_marks (
  lease_id  bigint not null,
  queue_id  integer not null,
  lane      smallint not null,
  low_seq   bigint not null,
  seen_seq  bigint not null,
  high_seq  bigint not null,
  marked_at timestamptz not null,
  constraint lease_marks_pkey primary key (lease_id, queue_id, lane)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- Leases that want to be woken for a queue. Changed a few times a second at most, because its dead
-- versions would slow every producer while another session holds a snapshot.
create table {{schema}}.sleepers (
  queue_id integer not null,
  lease_id bigint not null,
  constraint sleepers_pkey primary key (queue_id, lease_id)
) with (autovacuum_vacuum_threshold = 100);

-- For who ends, or wakes up for good: it does not read what the whole fleet has registered.
create index sleepers_lease_idx on {{schema}}.sleepers (lease_id);

-- Who runs maintenance. The term grows with each new leader.
create table {{schema}}.leader (
  is_only    boolean constraint leader_pkey primary key default true,
  term       bigint not null default 0,
  lease_id   bigint not null default 0,
  expires_at timestamptz not null default '-infinity',
  constraint leader_is_only_check check (is_only)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);
insert into {{schema}}.leader default values;

-- p_is_pulled: nobody renews it, see 0014_pull.sql.
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
  if is_too_long(p_info, 1048576) or is_too_deep(p_info) then
    raise exception 'the info of a worker is too long' using errcode = 'HW023',
      hint = 'use at most 1048576 bytes of JSON and 500 levels';
  end if;
  -- 63 bits of a strong random number (gen_random_uuid() draws from the system's generator)
  v_id := (('x' || translate(substr(gen_random_uuid()::text, 1, 8)
    || substr(gen_random_uuid()::text, 1, 8), '-', ''))::bit(64) >> 1)::bigint;
  insert into leases (id, worker, lease_ms, opened_at, expires_at, due_at, info)
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
  update leases l set expires_at = clock() + l.lease_ms * interval '1 millisecond'
  where l.id = p_lease_id;
  if not found then
    return query select false, false;
    return;
  end if;
  v_attention := exists (select from lease_notices n
    where n.lease_id = p_lease_id and n.drain_reason is null);
  if v_attention then
    -- one that comes between the two is told of as well: the worker looks when this is committed
    delete from lease_notices n where n.lease_id = p_lease_id and n.drain_reason is null;
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
  update leases set expires_at = v_expires_at,
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
create function {{schema}}.notify_lease(p_lease_id bigint, p_payload text) returns void
language sql volatile as $$
  select pg_catalog.pg_notify('howdah_' || p_lease_id, p_payload)
  where pg_catalog.pg_notification_queue_usage() < 0.5
$$;

-- Doorbell. NOTIFY takes a database-wide lock at commit, so it is sent only when somebody sleeps, and
-- to a few sleepers rather than the herd. It names the queue, after a q, so that who sleeps for thousands asks
-- one only; a lost one costs a poll interval. Of a few drawn at random, those who have missed a heartbeat come last: they are likely dead.
create function {{schema}}.ring_queue(p_queue_id integer, p_count integer, p_except bigint)
returns void
language sql security definer {{settings}} as $$
  select notify_lease(s.lease_id, 'q' || (select name from queues where id = p_queue_id))
  from (
    select c.lease_id from (
      select lease_id from sleepers where queue_id = p_queue_id and lease_id <> p_except
      order by random() limit least(greatest(p_count, 1), 16) + 3
    ) c left join leases l on l.id = c.lease_id
    order by (l.expires_at > clock() + 0.6 * l.lease_ms * interval '1 millisecond') is true desc
    limit least(greatest(p_count, 1), 16)
  ) s
$$;

create function {{schema}}.ring(p_queue text, p_count integer default 1, p_except bigint default 0)
returns void
language plpgsql security definer {{settings}} as $$
begin
  perform ring_queue(queue_id_of(p_queue), p_count, p_except);
end $$;

-- The promoter wakes on time by itself for what is due later; it needs to hear of what is due soon.
create function {{schema}}.ring_promoter(p_run_at timestamptz) returns void
language sql security definer {{settings}} as $$
  select notify_lease(lease_id, 'p') from leader
  where p_run_at < clock() + interval '2 seconds' and expires_at > clock()
$$;

create function {{schema}}.sleep(p_lease_id bigint, p_queues text[]) returns void
language plpgsql security definer {{settings}} as $$
begin
  perform 1 from leases where id = p_lease_id for key share;
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'open a new lease';
  end if;
  insert into sleepers (queue_id, lease_id)
  select id, p_lease_id from queues where name = any (p_queues) and deleted_at is null
  on conflict do nothing;
end $$;

create function {{schema}}.wake(p_lease_id bigint) returns void
language sql security definer {{settings}} as $$
  delete from sleepers where lease_id = p_lease_id
$$;

-- Leadership: a row when this lease leads (a call renews its term), none when another does.
-- had_gap: before this call nobody led for so long that the database may have been out of reach, and living
-- workers may have missed their heartbeats: they want a moment to renew their leases before any is reaped.
-- Without a gap it was in reach, for somebody renewed a term, less than half the shortest lease ago;
-- heartbeats come thrice a lease.
create function {{schema}}.lead(p_lease_id bigint, p_term_ms integer)
returns table (term bigint, had_gap boolean)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_led_until timestamptz;
  v_lease_until timestamptz;
begin
  if p_term_ms is null or p_term_ms not between 100 and 60000 then
    raise exception 'a term of % ms is out of bounds', coalesce(p_term_ms::text, 'null')
      using errcode = 'HW023', hint = 'use 100 ms to 60 seconds';
  end if;
  -- no term is longer than 60 s: one that is was begun while the clock of the server was ahead
  perform 1 from leader where lease_id = p_lease_id or expires_at <= clock()
    or expires_at > clock() + interval '60 seconds';
  if not found then
    -- a restore without rows: nobody would ever lead
    insert into leader select where not exists (select from leader) on conflict do nothing;
    return;  -- the usual answer costs no write
  end if;
  select expires_at into v_lease_until from leases where id = p_lease_id and held is null;
  if not found then
    raise exception 'lease % has ended', coalesce(p_lease_id::text, 'null') using errcode = 'HW020',
      hint = 'only a living worker leads: open a new lease';
  elsif v_lease_until <= clock() then
    -- after an outage, or a leap of the clock: as its next heartbeat would, but nobody leads until then
    update leases set expires_at = clock() + lease_ms * interval '1 millisecond' where id = p_lease_id;
  end if;
  select expires_at into v_led_until from leader
  where lease_id = p_lease_id or expires_at <= clock() or expires_at > clock() + interval '60 seconds'
  for no key update;
  if not found then
    return;  -- another was quicker
  end if;
  update leader set
    term = case when lease_id = p_lease_id then term else term + 1 end,
    lease_id = p_lease_id,
    expires_at = clock() + p_term_ms * interval '1 millisecond'
  returning leader.term into term;
  -- leases that receive() opened have no heartbeat
  had_gap := v_led_until < clock() and v_led_until < clock() + p_term_ms * interval '1 millisecond'
    - (select min(lease_ms) / 2 from leases where held is null and due_at is null) * interval '1 millisecond';
  return next;
end $$;

create function {{schema}}.resign(p_lease_id bigint) returns void
language sql security definer {{settings}} as $$
  update leader set expires_at = least(expires_at, clock()) where lease_id = p_lease_id
$$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.resign(bigint);
drop function {{schema}}.lead(bigint, integer);
drop function {{schema}}.wake(bigint);
drop function {{schema}}.sleep(bigint, text[]);
drop function {{schema}}.ring_promoter(timestamptz);
drop function {{schema}}.ring(text, integer, bigint);
drop function {{schema}}.ring_queue(integer, integer, bigint);
drop function {{schema}}.notify_lease(bigint, text);
drop function {{schema}}.extend(bigint, integer);
drop function {{schema}}.heartbeat(bigint);
drop function {{schema}}.open_lease(text, integer, jsonb, boolean);
drop table {{schema}}.leader;
drop table {{schema}}.sleepers;
drop table {{schema}}.lease_marks;
drop table {{schema}}.left_settles;
drop table {{schema}}.lease_notices;
drop table {{schema}}.leases;
