-- Permits: what runs in a limited queue. A claim writes into the job what it takes, whatever ends the lease of a
-- job inserts exactly that to be given back. So the count cannot drift when a limit is set, changed or taken away
-- while jobs run; jobs claimed before the first limit hold none and are not counted. Holds: a service said "later" (HTTP 429).

-- Up Migration

-- A handler was told to come again later (HTTP 429): nothing is claimed until the last of these is over. Only
-- inserted, in no row that an operator may hold: a settle waits for nobody (see hold_queue in 0010_permits.sql).
create table {{schema}}._holds (
  queue_id integer not null,
  until    timestamptz not null,
  id       bigint generated always as identity,
  reason   text not null,
  at       timestamptz not null,  -- when it was said: no hold lasts longer than was asked for
  constraint holds_pkey primary key (queue_id, until, id)
) with (autovacuum_vacuum_threshold = 100);

create index holds_until_idx on {{schema}}._holds (until);

-- One row a queue that has, or had, a limit or a circuit breaker: see 0012_limits.sql. It is changed by each claim.
-- Versions that a held snapshot keeps are not walked through: claims move the epoch now and then, and the row is
-- looked for from the newest.
create table {{schema}}._limits (
  queue_id       integer not null,
  epoch          bigint not null default 0,
  running        integer not null default 0,   -- sum of jobs.permit and of permits in _limit_deltas
  is_hit         boolean not null default false, -- a claim found no room: ring when there is some
  tokens         double precision not null default 1000000,
  refilled_at    timestamptz not null default {{schema}}.clock(),
  circuit        text not null default 'closed',
  circuit_until  timestamptz,                  -- end of the cool-down; null: open until closed by hand
  circuit_reason text,
  circuit_ms     integer,                      -- length of the cool-down; null: opened by hand
  probe_at       timestamptz,                  -- when the probe that is under way was claimed
  failed_at      timestamptz[] not null default '{}',
  -- where folding begins: everything committed up to mark was folded at least a second ago
  mark           bigint not null default 0,
  next_mark      bigint not null default 0,
  marked_at      timestamptz not null default '-infinity',
  folded_at      timestamptz not null default '-infinity',
  constraint limits_pkey primary key (queue_id, epoch),
  constraint limits_circuit_check check (circuit in ('closed', 'open', 'half-open'))
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- What settles give back: only ever inserted, so that no settle waits for another or for a claim.
create table {{schema}}._limit_deltas (
  queue_id  integer not null,
  id        bigint generated always as identity,
  permits   integer not null default 0,
  failed_at timestamptz,
  succeeded boolean not null default false,
  constraint limit_deltas_pkey primary key (queue_id, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Gives permits back, and rings if a claim found no room. Only an insert: waits for nobody.
create function {{schema}}._return_permits(p_queue_id integer, p_permits integer) returns void
language plpgsql security definer {{settings}} as $$
begin
  insert into _limit_deltas (queue_id, permits) values (p_queue_id, p_permits);
  if (select is_hit from _limits where queue_id = p_queue_id order by epoch desc limit 1)
    and exists (select from _sleepers where queue_id = p_queue_id) then
    perform _ring_queue(p_queue_id, p_permits, 0);
  end if;
end $$;

-- For the circuit breaker. Success matters only while the circuit is not closed.
create function {{schema}}._note_outcome(p_queue {{schema}}._queues, p_outcome text) returns void
language plpgsql security definer {{settings}} as $$
begin
  if p_outcome in ('fail', 'dead_letter') then
    insert into _limit_deltas (queue_id, failed_at) values (p_queue.id, clock());
  elsif p_outcome = 'complete'
    and (select circuit from _limits where queue_id = p_queue.id order by epoch desc limit 1) = 'half-open' then
    insert into _limit_deltas (queue_id, succeeded) values (p_queue.id, true);
  end if;
end $$;

-- What the jobs that complete_many() has deleted give back: permits by the id of their queue.
create function {{schema}}._note_completions(p_permits jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_done record;
begin
  for v_done in
    select q as queue, p.value::integer as permits
    from jsonb_each(p_permits) p join _queues q on q.id = p.key::integer and q.is_watched
  loop
    if v_done.permits > 0 then
      perform _return_permits((v_done.queue).id, v_done.permits);
    end if;
    if (v_done.queue).breaker_failures is not null then
      perform _note_outcome(v_done.queue, 'complete');
    end if;
  end loop;
end $$;

-- A handler, or a person, was told to come again later: nothing is claimed until then. Only an insert, and only
-- where it is longer than what is known: waits for nobody.
create function {{schema}}._hold_queue(
  p_queue_id integer, p_ms double precision, p_reason text
) returns void
language sql security definer {{settings}} as $$
  insert into _holds (queue_id, until, reason, at)
  select p_queue_id, n.until, coalesce(left(p_reason, 500), 'rate limited'), clock()
  from (select clock() + p_ms * interval '1 millisecond' as until) n
  where not exists (select from _holds h where h.queue_id = p_queue_id and h.until >= n.until)
$$;

-- Down Migration

drop function {{schema}}._hold_queue(integer, double precision, text);
drop function {{schema}}._note_completions(jsonb);
drop function {{schema}}._note_outcome({{schema}}._queues, text);
drop function {{schema}}._return_permits(integer, integer);
drop table {{schema}}._limit_deltas;
drop table {{schema}}._limits;
drop table {{schema}}._holds;
