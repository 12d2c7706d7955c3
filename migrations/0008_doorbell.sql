-- The doorbell: who sleeps and wants to be told of work, who waits for the end of a job, who leads the upkeep. A
-- notification is a hint: none is sent while the server's queue of them is half full, and nothing depends on one.

-- Up Migration

-- Leases that want to be woken for a queue. Changed a few times a second at most, because its dead
-- versions would slow every producer while another session holds a snapshot.
create table {{schema}}._sleepers (
  queue_id integer not null,
  lease_id bigint not null,
  constraint sleepers_pkey primary key (queue_id, lease_id)
) with (autovacuum_vacuum_threshold = 100);

-- For who ends, or wakes up for good: it does not read what the whole fleet has registered.
create index sleepers_lease_idx on {{schema}}._sleepers (lease_id);

-- Who runs maintenance. The term grows with each new leader.
create table {{schema}}._leader (
  is_only    boolean constraint leader_pkey primary key default true,
  term       bigint not null default 0,
  lease_id   bigint not null default 0,
  expires_at timestamptz not null default '-infinity',
  constraint leader_is_only_check check (is_only)
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

insert into {{schema}}._leader default values;

-- Doorbell. NOTIFY takes a database-wide lock at commit, so it is sent only when somebody sleeps, and
-- to a few sleepers rather than the herd. It names the queue, after a q, so that who sleeps for thousands asks
-- one only; a lost one costs a poll interval. Of a few drawn at random, those who have missed a heartbeat come last: they are likely dead.
create function {{schema}}._ring_queue(p_queue_id integer, p_count integer, p_except bigint)
returns void
language sql security definer {{settings}} as $$
  select _notify_lease(s.lease_id, 'q' || (select name from _queues where id = p_queue_id))
  from (
    select c.lease_id from (
      select lease_id from _sleepers where queue_id = p_queue_id and lease_id <> p_except
      order by random() limit least(greatest(p_count, 1), 16) + 3
    ) c left join _leases l on l.id = c.lease_id
    order by (l.expires_at > clock() + 0.6 * l.lease_ms * interval '1 millisecond') is true desc
    limit least(greatest(p_count, 1), 16)
  ) s
$$;

create function {{schema}}.ring(p_queue text, p_count integer default 1, p_except bigint default 0)
returns void
language plpgsql security definer {{settings}} as $$
begin
  perform _ring_queue(_queue_id_of(p_queue), p_count, p_except);
end $$;

-- The promoter wakes on time by itself for what is due later; it needs to hear of what is due soon.
create function {{schema}}._ring_promoter(p_run_at timestamptz) returns void
language sql security definer {{settings}} as $$
  select _notify_lease(lease_id, 'p') from _leader
  where p_run_at < clock() + interval '2 seconds' and expires_at > clock()
$$;

create function {{schema}}.sleep(p_lease_id bigint, p_queues text[]) returns void
language plpgsql security definer {{settings}} as $$
begin
  perform 1 from _leases where id = p_lease_id for key share;
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'open a new lease';
  end if;
  insert into _sleepers (queue_id, lease_id)
  select id, p_lease_id from _queues where name = any (p_queues) and deleted_at is null
  on conflict do nothing;
end $$;

create function {{schema}}.wake(p_lease_id bigint) returns void
language sql security definer {{settings}} as $$
  delete from _sleepers where lease_id = p_lease_id
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
  perform 1 from _leader where lease_id = p_lease_id or expires_at <= clock()
    or expires_at > clock() + interval '60 seconds';
  if not found then
    -- a restore without rows: nobody would ever lead
    insert into _leader select where not exists (select from _leader) on conflict do nothing;
    return;  -- the usual answer costs no write
  end if;
  select expires_at into v_lease_until from _leases where id = p_lease_id and held is null;
  if not found then
    raise exception 'lease % has ended', coalesce(p_lease_id::text, 'null') using errcode = 'HW020',
      hint = 'only a living worker leads: open a new lease';
  elsif v_lease_until <= clock() then
    -- after an outage, or a leap of the clock: as its next heartbeat would, but nobody leads until then
    update _leases set expires_at = clock() + lease_ms * interval '1 millisecond' where id = p_lease_id;
  end if;
  select expires_at into v_led_until from _leader
  where lease_id = p_lease_id or expires_at <= clock() or expires_at > clock() + interval '60 seconds'
  for no key update;
  if not found then
    return;  -- another was quicker
  end if;
  update _leader set
    term = case when lease_id = p_lease_id then term else term + 1 end,
    lease_id = p_lease_id,
    expires_at = clock() + p_term_ms * interval '1 millisecond'
  returning _leader.term into term;
  -- leases that receive() opened have no heartbeat
  had_gap := v_led_until < clock() and v_led_until < clock() + p_term_ms * interval '1 millisecond'
    - (select min(lease_ms) / 2 from _leases where held is null and due_at is null) * interval '1 millisecond';
  return next;
end $$;

create function {{schema}}.resign(p_lease_id bigint) returns void
language sql security definer {{settings}} as $$
  update _leader set expires_at = least(expires_at, clock()) where lease_id = p_lease_id
$$;

-- No more notifications for these queues; a lease asks for them with sleep().
create function {{schema}}.stop_ringing(p_lease_id bigint, p_queues text[]) returns void
language sql security definer {{settings}} as $$
  delete from _sleepers where lease_id = p_lease_id
    and queue_id in (select id from _queues where name = any (p_queues))
$$;

-- Leases whose programs wait for jobs: looked at by every settle, so it changes seldom and is empty mostly.
create table {{schema}}._watchers (
  lease_id bigint constraint watchers_pkey primary key
) with (autovacuum_vacuum_threshold = 100);

-- Which jobs they wait for. Looked at only while there are watchers.
create table {{schema}}._watches (
  job_id         bigint not null,
  lease_id       bigint not null,
  wants_progress boolean not null,
  constraint watches_pkey primary key (job_id, lease_id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index watches_lease_idx on {{schema}}._watches (lease_id);

-- Rings who waits for these jobs, at most 64 leases of them: 'r12,15' on the channel of the lease names the
-- jobs, so that a waiter of thousands looks only at those; 'r' alone: there are more than a hundred.
create function {{schema}}._tell_watchers(p_ids bigint[], p_is_progress boolean default false)
returns void
language sql security definer {{settings}} as $$
  select _notify_lease(w.lease_id, 'r' || case when w.jobs <= 100 then w.ids else '' end) from (
    select lease_id, count(*) as jobs, string_agg(job_id::text, ',') as ids from _watches
    where job_id = any (p_ids) and (wants_progress or not p_is_progress) group by lease_id limit 64
  ) w
$$;

-- A lease waits for no job any more.
create function {{schema}}._drop_watches(p_lease_id bigint) returns void
language sql security definer {{settings}} as $$
  delete from _watchers where lease_id = p_lease_id;
  delete from _watches where lease_id = p_lease_id
$$;

-- The scheduler sleeps until something is due; it needs to hear of changes.
create function {{schema}}._ring_scheduler() returns void
language sql security definer {{settings}} as $$
  select _notify_lease(lease_id, 's') from _leader where expires_at > clock()
$$;

-- Down Migration

drop function {{schema}}._ring_scheduler();
drop function {{schema}}._drop_watches(bigint);
drop function {{schema}}._tell_watchers(bigint[], boolean);
drop table {{schema}}._watches;
drop table {{schema}}._watchers;
drop function {{schema}}.stop_ringing(bigint, text[]);
drop function {{schema}}.resign(bigint);
drop function {{schema}}.lead(bigint, integer);
drop function {{schema}}.wake(bigint);
drop function {{schema}}.sleep(bigint, text[]);
drop function {{schema}}._ring_promoter(timestamptz);
drop function {{schema}}.ring(text, integer, bigint);
drop function {{schema}}._ring_queue(integer, integer, bigint);
drop table {{schema}}._leader;
drop table {{schema}}._sleepers;
