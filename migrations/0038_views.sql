-- Views: the readable surface, for people and for the command line.

-- Up Migration

-- Views: the readable surface, for people and for the command line.



-- Every job that is not finished.
create view {{schema}}.job_states as
select j.id, q.name as queue,
  case when j.dead_at is not null and j.lease_id is null then 'dead'
    when j.lease_id is not null then 'running'
    when j.seq is not null then 'ready'
    when j.group_seq is not null then 'blocked'
    else 'scheduled' end as state,
  {{schema}}.lane_priority(j.lane) as priority,
  -- as _attempts_of(), which whoever reads this may not call
  case when j.dead_at is not null and j.lease_id is null
    then coalesce((j.errors -> -1 ->> 'attempt')::integer, 0) else j.attempt - j.uncounted end as attempt,
  coalesce(j.max_attempts, q.max_attempts) as max_attempts,
  j.crashes, j.enqueued_at, j.run_at, j.claimed_at, j.expires_at,
  l.worker, o.name as origin_queue, j.dead_at, j.dead_reason,
  j.errors -> -1 ->> 'message' as last_error,
  j.payload, j.headers, j.errors, j.cancel_requested, j.group_key, j.batch_id
from {{schema}}._jobs j
join {{schema}}._queues q on q.id = j.queue_id
left join {{schema}}._queues o on o.id = j.origin_queue_id
left join {{schema}}._leases l on l.id = j.lease_id;

create view {{schema}}.history as
select h.id, q.name as queue, h.state,
  {{schema}}.lane_priority(h.lane) as priority, h.attempt, h.reason, h.worker,
  h.enqueued_at, h.claimed_at, h.finished_at, h.errors -> -1 ->> 'message' as last_error,
  h.payload, h.headers, h.errors, h.result, h.group_key, h.batch_id
from {{schema}}._history h join {{schema}}._queues q on q.id = h.queue_id;

-- Every job there is a row of, finished or not.
create view {{schema}}.jobs as
select id, queue, state, priority, attempt, enqueued_at, run_at, claimed_at,
  null::timestamptz as finished_at, worker, dead_reason as reason, last_error, payload, headers,
  errors, null::jsonb as result, group_key, batch_id
from {{schema}}.job_states
union all
select id, queue, state, priority, attempt, enqueued_at, null, claimed_at, finished_at, worker,
  reason, last_error, payload, headers, errors, result, group_key, batch_id
from {{schema}}.history;

-- Jobs by their ids, finished or not: by the view every day of the history would be looked at, and locked.
create function {{schema}}.find_jobs(p_ids bigint[]) returns setof {{schema}}.jobs
language sql stable security definer {{settings}} as $$
  select id, queue, state, priority, attempt, enqueued_at, run_at, claimed_at, null::timestamptz, worker,
    dead_reason, last_error, payload, headers, errors, null::jsonb, group_key, batch_id
  from job_states where id = any (p_ids)
  union all
  select h.id, q.name, h.state, lane_priority(h.lane), h.attempt, h.enqueued_at, null, h.claimed_at, h.finished_at,
    h.worker, h.reason, h.errors -> -1 ->> 'message', h.payload, h.headers, h.errors, h.result, h.group_key, h.batch_id
  from _history_of(p_ids) h join _queues q on q.id = h.queue_id
$$;

-- Ids of finished jobs, the newest first. The days of the history are looked at one after another, those with the
-- newest ids first, p_skip days being passed over, 60 a call: by the view all days that are kept would be locked at
-- once. next_high: no day that is left has a greater id; null when none is left. Whoever has p_limit ids above it
-- is done; others ask again, with 60 more to skip.
create function {{schema}}.finished_ids(
  p_queue text default null, p_states text[] default null, p_batch bigint default null,
  p_after bigint default null, p_limit integer default 100, p_skip integer default 0,
  out ids bigint[], out next_high bigint
)
language plpgsql stable security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_queue_ids integer[] := array(select id from _queues where name = p_queue);
  v_limit integer := least(greatest(p_limit, 0), 10000);
  v_day record;
  v_found bigint[];
begin
  ids := '{}';
  for v_day in
    select d.name, d.high, row_number() over (order by d.high desc, d.day desc) - greatest(p_skip, 0) as n from (
      select '_history_' || to_char(day, 'YYYYMMDD') as name, day,
        case when high_id is null or noted_at > v_now then 9223372036854775807 else high_id end as high
      from _history_days
      where p_after is null or low_id is null or noted_at > v_now or low_id < p_after
      union all select '_history_default', '-infinity', 9223372036854775807
    ) d order by d.high desc, d.day desc offset greatest(p_skip, 0)
  loop
    if v_day.n > 60 then
      next_high := v_day.high;
      return;
    end if;
    continue when cardinality(ids) = v_limit and coalesce(ids[v_limit] > v_day.high, true);
    begin
      execute format('select array(select id from %I
        where ($1 is null or queue_id = any ($2)) and ($3 is null or state = any ($3)) and ($4 is null or batch_id = $4)
          and id < coalesce($5, 9223372036854775807)
        order by id desc limit $6)', v_day.name)
      into v_found using p_queue, v_queue_ids, p_states, p_batch, p_after, v_limit;
    exception when undefined_table then
      continue;  -- dropped at this very moment
    end;
    ids := array(select u from (select unnest(ids) union select unnest(v_found)) x (u) order by u desc limit v_limit);
  end loop;
end $$;

-- From counters: reading it costs nothing, however many jobs there are. backlog_age_ms is how long the
-- first ready job has waited.
create view {{schema}}.queue_stats as
select q.name as queue, c.ready, c.scheduled, c.running, c.dead, c.enqueued, c.completed,
  c.failed as failed_attempts, c.buried, c.cancelled, c.expired, c.discarded,
  (select (extract(epoch from {{schema}}.clock()
      - greatest(f.enqueued_at, f.run_at, f.dead_at)) * 1000)::bigint
    from {{schema}}.ready_lanes(q.id) l cross join lateral (
      select j.* from {{schema}}._jobs j
      where j.queue_id = q.id and j.lane = l.lane and j.seq is not null and j.lease_id is null
        and j.seq > l.start
      order by j.seq limit 1) f
    where c.ready > 0
    order by 1 desc limit 1) as backlog_age_ms,
  q.paused_at is not null and coalesce(q.paused_until > {{schema}}.clock(), true) as paused,
  q.paused_reason, q.paused_until,
  -- why nothing, or no more, is claimed although jobs are ready
  h.until as limited_until, h.reason as limited_reason,
  case when q.breaker_failures is not null then coalesce(m.circuit, 'closed') end as circuit,
  case when m.circuit = 'open' then m.circuit_until end as circuit_until,
  case when m.circuit <> 'closed' then m.circuit_reason end as circuit_reason,
  q.closed_at is not null as closed, q.closed_reason, q.max_depth, q.max_bytes,
  case when q.max_depth is not null or q.max_bytes is not null then c.bytes end as waiting_bytes,
  c.blocked
from {{schema}}._queues q
left join {{schema}}._counters n on n.queue_id = q.id
-- all at once: for each queue alone every row would be read, for they are not in an order of queues
left join (
  select queue_id, sum(ready) as ready, sum(scheduled) as scheduled, sum(running) as running,
    sum(dead) as dead, sum(enqueued) as enqueued, sum(completed) as completed,
    sum(failed) as failed, sum(buried) as buried, sum(cancelled) as cancelled,
    sum(expired) as expired, sum(discarded) as discarded, sum(blocked) as blocked,
    sum(bytes) as bytes
  from {{schema}}._counter_deltas group by queue_id
) d on d.queue_id = q.id
cross join lateral (
  select (coalesce(n.ready, 0) + coalesce(d.ready, 0))::bigint as ready,
    (coalesce(n.scheduled, 0) + coalesce(d.scheduled, 0))::bigint as scheduled,
    (coalesce(n.running, 0) + coalesce(d.running, 0))::bigint as running,
    (coalesce(n.dead, 0) + coalesce(d.dead, 0))::bigint as dead,
    (coalesce(n.enqueued, 0) + coalesce(d.enqueued, 0))::bigint as enqueued,
    (coalesce(n.completed, 0) + coalesce(d.completed, 0))::bigint as completed,
    (coalesce(n.failed, 0) + coalesce(d.failed, 0))::bigint as failed,
    (coalesce(n.buried, 0) + coalesce(d.buried, 0))::bigint as buried,
    (coalesce(n.cancelled, 0) + coalesce(d.cancelled, 0))::bigint as cancelled,
    (coalesce(n.expired, 0) + coalesce(d.expired, 0))::bigint as expired,
    (coalesce(n.discarded, 0) + coalesce(d.discarded, 0))::bigint as discarded,
    (coalesce(n.blocked, 0) + coalesce(d.blocked, 0))::bigint as blocked,
    (coalesce(n.bytes, 0) + coalesce(d.bytes, 0))::bigint as bytes
) c
left join lateral (
  select * from {{schema}}._limits where queue_id = q.id order by epoch desc limit 1
) m on true
left join lateral (
  select until, reason from {{schema}}._holds
  where queue_id = q.id and until > {{schema}}.clock() order by until desc limit 1
) h on true
where q.deleted_at is null;

create view {{schema}}.workers as
select l.id as lease_id, l.worker, l.opened_at, l.expires_at, l.lease_ms,
  l.expires_at > {{schema}}.clock() as alive,
  coalesce(d.lease_id = l.id and d.expires_at > {{schema}}.clock(), false) as leads,
  exists (select from {{schema}}._lease_notices n
    where n.lease_id = l.id and n.drain_reason is not null) as draining, l.info
from {{schema}}._leases l cross join {{schema}}._leader d
where l.held is null and l.due_at is null and not l.info ? 'pull';

-- Ready jobs that nobody would find, at or below the floor of their lane: there are none, or a floor is wrong.
create view {{schema}}.hidden_jobs as
select q.name as queue, j.id, j.lane, j.seq, f.seq as floor, j.enqueued_at
from {{schema}}._lane_floors f
join {{schema}}._queues q on q.id = f.queue_id
join {{schema}}._jobs j on j.queue_id = f.queue_id and j.lane = f.lane and j.seq <= f.seq and j.lease_id is null;

create view {{schema}}.queue_policies as
select q.name as queue, q.max_attempts, q.backoff, q.backoff_ms, q.backoff_max_ms, q.backoff_jitter,
  q.timeout_ms, q.ttl_ms, q.delay_ms, q.payload_bytes_max, q.retention_ms, q.max_crashes,
  q.group_concurrency, q.group_rate_max, q.group_rate_ms, q.group_rate_burst, q.max_depth, q.max_bytes,
  q.concurrency_max, q.rate_max, q.rate_ms, q.rate_burst, q.breaker_failures, q.breaker_window_ms,
  q.breaker_cooldown_ms, q.ageing_ms,
  q.visibility_ms, d.name as dead_letter_queue, q.paused_at, q.paused_reason, q.paused_until, q.created_at,
  q.closed_at, q.closed_reason
from {{schema}}._queues q join {{schema}}._queues d on d.id = q.dead_letter_queue_id
where q.deleted_at is null;

-- The version of this schema: the number of its newest migration file.
create function {{schema}}.schema_version() returns integer
language sql stable security definer {{settings}} as $$
  select coalesce(max(left(name, 4)::integer), 0) from migration
$$;

-- Groups in which jobs wait, and for what. The head is the member admitted last; since: when it was.
create view {{schema}}.blocked_groups as
select q.name as queue, g.key as group_key, (g.waiting + coalesce(c.waiting, 0))::integer as waiting,
  (g.admitted + coalesce(c.admitted, 0))::integer as admitted, q.group_concurrency,
  h.id as head_id,
  case when h.id is null then null
    when h.lease_id is not null then 'running'
    when h.seq is not null then 'ready'
    else 'scheduled' end as head_state,
  case when c.n > 0 then 'an open transaction holds the group'
    when h.id is null then 'head has ended, but not the others that had a turn with it'
    when h.lease_id is not null and coalesce(l.expires_at < {{schema}}.clock(), true)
      then 'head runs, but the lease of its worker has ended: it is to be reaped'
    when h.lease_id is not null then 'head runs'
    when h.seq is not null and q.paused_at is not null then 'the queue is paused'
    when h.seq is not null then 'head waits for a worker'
    else case when h.attempt = 0 then 'head is not due until '
        when h.errors is null then 'head snoozes until '
        else 'head backs off until ' end
      || to_char(h.run_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') end as reason,
  g.head_at as since
from {{schema}}._groups g
join {{schema}}._queues q on q.id = g.queue_id
left join {{schema}}._jobs h on h.id = g.head_id and h.queue_id = g.queue_id and h.dead_at is null
left join {{schema}}._leases l on l.id = h.lease_id
cross join lateral (
  select count(*) as n, sum(x.admitted) as admitted, sum(x.waiting) as waiting
  from {{schema}}._group_changes x where x.queue_id = g.queue_id and x.key = g.key
) c
where g.waiting + coalesce(c.waiting, 0) > 0;

-- Schedules, with what became of the job enqueued last while there is a row of it.
create view {{schema}}.schedules as
select s.name, s.owner, s.job ->> 'queue' as queue, s.cron, s.zone, s.missed, s.missed_max,
  s.job -> 'payload' as payload, nullif(s.job -> 'headers', 'null') as headers,
  s.job - '{queue,payload,headers}'::text[] as options,
  s.paused_at is not null as paused, s.paused_at, s.paused_reason,
  case when s.paused_at is null then s.next_at end as next_at, s.after_at, s.error,
  s.last_at, s.last_outcome, s.last_error, s.last_job_id,
  j.state as last_job_state, j.finished_at as last_job_finished_at, j.last_error as last_job_error,
  j.errors -> -1 as last_job_error_json,  -- whole, for it may be encoded
  s.created_at, s.updated_at
from {{schema}}._schedules s
left join lateral (
  select a.state, a.finished_at, a.last_error, a.errors from {{schema}}.find_jobs(array[s.last_job_id]) a limit 1
) j on true;

-- What became of the nominal times of the last day.
create view {{schema}}.schedule_runs as
select s.name, r.nominal_at, r.outcome, r.job_id, r.error, r.decided_at
from {{schema}}._schedule_runs r join {{schema}}._schedules s on s.id = r.schedule_id;

-- Down Migration

drop view {{schema}}.schedule_runs;
drop view {{schema}}.schedules;
drop view {{schema}}.blocked_groups;
drop function {{schema}}.schema_version();
drop view {{schema}}.queue_policies;
drop view {{schema}}.hidden_jobs;
drop view {{schema}}.workers;
drop view {{schema}}.queue_stats;
drop function {{schema}}.finished_ids(text, text[], bigint, bigint, integer, integer);
drop function {{schema}}.find_jobs(bigint[]);
drop view {{schema}}.jobs;
drop view {{schema}}.history;
drop view {{schema}}.job_states;
