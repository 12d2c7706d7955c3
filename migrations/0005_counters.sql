-- Counters: how many jobs of each state a queue has. Whatever changes that inserts a difference; roll_up() folds
-- them, so that statistics cost nothing to read, however many jobs there are.

-- Up Migration

-- Statistics are counted where work happens: one row a statement and queue, folded by roll_up().
create table {{schema}}._counter_deltas (
  id bigint generated always as identity constraint counter_deltas_pkey primary key,
  queue_id integer not null,
  ready integer not null default 0, scheduled integer not null default 0,
  running integer not null default 0, dead integer not null default 0,
  enqueued integer not null default 0, completed integer not null default 0,
  failed integer not null default 0, cancelled integer not null default 0,
  expired integer not null default 0, buried integer not null default 0,
  discarded integer not null default 0, blocked integer not null default 0,
  bytes bigint                                   -- not null where a bounded queue's waiting jobs change
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The depth of a bounded queue is read at each enqueue; other queues never enter this index.
create index counter_deltas_bounded_idx on {{schema}}._counter_deltas (queue_id)
  where bytes is not null;

create table {{schema}}._counters (
  queue_id integer constraint counters_pkey primary key,
  ready bigint not null default 0, scheduled bigint not null default 0,
  running bigint not null default 0, dead bigint not null default 0,
  enqueued bigint not null default 0, completed bigint not null default 0,
  failed bigint not null default 0, cancelled bigint not null default 0,
  expired bigint not null default 0, buried bigint not null default 0,
  discarded bigint not null default 0, blocked bigint not null default 0,
  bytes bigint not null default 0,
  -- finished jobs a second, lately, and when that was reckoned
  rate double precision not null default 0, rated_at timestamptz not null default {{schema}}.clock()
) with (fillfactor = 20, autovacuum_vacuum_threshold = 100);

-- Jobs of a queue that are not finished, from the counters: no table is read.
create function {{schema}}._queue_size(p_queue_id integer) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce(sum(n), 0)::bigint from (
    select ready + scheduled + running + blocked as n from _counters where queue_id = p_queue_id
    union all
    select ready + scheduled + running + blocked from _counter_deltas where queue_id = p_queue_id
  ) c
$$;

-- Folds counter deltas. p_after as in promote().
create function {{schema}}.roll_up(p_limit integer default 10000, p_after bigint default 0)
returns table (rolled integer, mark bigint)
language plpgsql security definer {{settings}} as $$
begin
  -- one at a time, as sweep()
  perform 1 from _locks where id = 67 for update skip locked;
  if not found then
    rolled := 0;
    mark := p_after;
    return next;
    return;
  end if;
  with gone as (
    delete from _counter_deltas where id in (
      select d.id from _counter_deltas d where d.id > p_after
      order by d.id limit least(greatest(p_limit, 1), 100000) for update skip locked)
    returning *
  ), folded as (
    insert into _counters as c (queue_id, ready, scheduled, running, dead, enqueued, completed,
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
      rate = _smoothed_rate(c.rate, excluded.rate, c.rated_at, clock())
  )
  select count(*), coalesce(max(id), p_after) into rolled, mark from gone;
  return next;
end $$;

-- What waits in a queue, without reading jobs: ready, scheduled and blocked ones and the bytes of their payloads.
-- Exact for what is committed, and for this transaction. deltas: how many rows were read for it.
create function {{schema}}._waiting_in(
  p_queue_id integer, out depth bigint, out bytes bigint, out deltas integer
)
language sql volatile security definer {{settings}} as $$
  select coalesce(c.ready + c.scheduled + c.blocked, 0) + d.n, coalesce(c.bytes, 0) + d.bytes, d.deltas::integer
  from (
    select coalesce(sum(ready + scheduled + blocked), 0)::bigint as n, coalesce(sum(bytes), 0)::bigint as bytes,
      count(*) as deltas
    from _counter_deltas where queue_id = p_queue_id and bytes is not null
  ) d left join _counters c on c.queue_id = p_queue_id
$$;

-- Where nobody rolls counters up, producers keep the number of rows small that each of them reads. Waits
-- for nobody: rows that another session folds are skipped.
create function {{schema}}._fold_deltas(p_queue_id integer) returns void
language sql security definer {{settings}} as $$
  with gone as (
    delete from _counter_deltas where id = any (array(
      select d.id from _counter_deltas d where d.queue_id = p_queue_id and d.bytes is not null
      limit 1000 for update skip locked))
    returning *
  )
  insert into _counter_deltas (queue_id, ready, scheduled, blocked, running, dead, enqueued, completed,
    failed, cancelled, expired, buried, discarded, bytes)
  select p_queue_id, sum(ready), sum(scheduled), sum(blocked), sum(running), sum(dead), sum(enqueued),
    sum(completed), sum(failed), sum(cancelled), sum(expired), sum(buried), sum(discarded), sum(bytes)
  from gone having count(*) > 0
$$;

-- A queue that has just got a bound: what changed its depth until now counts.
create function {{schema}}._begin_counting(p_queue_id integer) returns void
language sql security definer {{settings}} as $$
  update _counter_deltas set bytes = 0 where queue_id = p_queue_id and bytes is null
    and exists (select from _queues where id = p_queue_id and is_guarded)
$$;

-- Down Migration

drop function {{schema}}._begin_counting(integer);
drop function {{schema}}._fold_deltas(integer);
drop function {{schema}}._waiting_in(integer);
drop function {{schema}}.roll_up(integer, bigint);
drop function {{schema}}._queue_size(integer);
drop table {{schema}}._counters;
drop table {{schema}}._counter_deltas;
