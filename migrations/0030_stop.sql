-- Stopping consumers from outside: a poison pill, which stands in the queue among the jobs and is met in its
-- turn, and drain_worker(), which is obeyed at once. A worker that is told claims no more,
-- finishes what it holds and ends.

-- Up Migration

-- Stopping consumers from outside: a poison pill, which stands in the queue among the jobs and is met in its
-- turn, and drain_worker(), which is obeyed at once. A worker that is told claims no more,
-- finishes what it holds and ends.



-- Which jobs are poison pills. The header of such a job only says "ask obey_stop()": a producer that
-- forges it stops nobody.
create table {{schema}}._pills (
  job_id    bigint constraint pills_pkey primary key,
  mode      text not null,
  placed_at timestamptz not null,
  constraint pills_mode_check check (mode in ('one', 'all'))
);

-- Places a pill behind everything that is ready in this queue, whatever its priority. 'one': one worker takes
-- it and stops. 'all': the workers of the queue stop that were there when it was placed. In a paused queue
-- it waits, like any job, until the queue is resumed. Returns its id: it can be cancelled like a job.
create function {{schema}}.stop_consumers(p_queue text, p_mode text default 'one') returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_queue_id integer := _queue_id_of(p_queue);
  v_id bigint;
begin
  if p_mode is null or p_mode not in ('one', 'all') then
    raise exception 'mode % is not valid', coalesce(quote_literal(p_mode), 'null')
      using errcode = 'HW073', hint = 'use one or all';
  end if;
  -- of pills that were cancelled or discarded
  delete from _pills p where not exists (select from _jobs j where j.id = p.job_id);
  v_id := nextval('job_seq');
  insert into _pills (job_id, mode, placed_at) values (v_id, p_mode, clock());
  insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload, headers)
  -- behind all that is ready
  select v_id, v_id, clock(), v_queue_id,
    greatest((select max(r.lane) from ready_lanes(v_queue_id) r), 201::smallint) | 1::smallint, 'null',
    jsonb_build_object('howdah-stop', p_mode);
  insert into _counter_deltas (queue_id, enqueued, ready, bytes)
  values (v_queue_id, 1, 1, _delta_bytes(v_queue_id, null));
  perform _ring_queue(v_queue_id, 1, 0);
  return v_id;
end $$;

-- Tells workers to drain.
create function {{schema}}._order_drain(p_lease_ids bigint[], p_reason text) returns void
language sql security definer {{settings}} as $$
  insert into _lease_notices (lease_id, drain_reason)
  select id, reason from unnest(p_lease_ids) id, unnest(array[null, left(p_reason, 500)]) reason;
  select _notify_lease(id, 'd') from unnest(p_lease_ids) id
$$;

-- A worker has claimed a job that says it is a pill. 'stop': it is to drain; 'ignored': it came after a pill
-- for all was placed, and the others have been told; null: the job is no pill, run it. Settles the pill.
-- A program that receive() gave the pill to calls it too; 'one' is for it to obey, 'all' for workers only.
-- Locks the lease, then the job.
create function {{schema}}.obey_stop(p_lease_id bigint, p_id bigint, p_attempt integer) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_pill _pills;
  v_job _jobs;
  v_present bigint[];
begin
  select * into v_pill from _pills where job_id = p_id;
  if not found then
    return null;
  end if;
  perform 1 from _leases l where l.id = p_lease_id for no key update;
  v_present := array(
    select l.id from _leases l
    where l.held is null and l.due_at is null and l.expires_at > clock() and case v_pill.mode
      when 'one' then l.id = p_lease_id
      else l.opened_at <= v_pill.placed_at and l.info -> 'queues' ?
        (select q.name from _jobs j join _queues q on q.id = j.queue_id where j.id = p_id) end);
  select * into v_job from _jobs j
  where j.id = p_id and j.lease_id = p_lease_id and j.attempt = p_attempt for update;
  if not found then
    return 'ignored';  -- its lease ended: another worker meets it
  end if;
  perform _order_drain(v_present, format('poison pill %s', p_id));
  perform _finish(v_job, 'completed', 'poison pill');
  delete from _pills where job_id = p_id;
  perform _let_go(p_lease_id, 1);
  return case when v_pill.mode = 'one' or p_lease_id = any (v_present) then 'stop' else 'ignored' end;
end $$;

-- Workers of this name, or the one of this lease, drain: claim no more, finish what they hold, end.
create function {{schema}}.drain_worker(p_worker text)
returns table (lease_id bigint, worker text)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_ids bigint[];
begin
  v_ids := array(
    select l.id from _leases l
    where l.held is null and l.due_at is null and not l.info ? 'pull' and l.expires_at > clock()
      and (l.worker = p_worker or l.id::text = p_worker)
    order by l.id);
  if cardinality(v_ids) = 0 then
    raise exception 'no living worker is named %', coalesce(quote_literal(left(p_worker, 200)), 'null')
      using errcode = 'HW071', hint = 'see the view workers, or `howdah workers list`';
  end if;
  perform _order_drain(v_ids, 'drained by an operator');
  return query select l.id, l.worker from _leases l where l.id = any (v_ids) order by l.id;
end $$;

-- Why this worker is to drain; null: it is not. A worker asks when it is told to look ('d').
create function {{schema}}.drain_order(p_lease_id bigint) returns text
language sql stable security definer {{settings}} as $$
  select drain_reason from _lease_notices where lease_id = p_lease_id and drain_reason is not null
  order by id limit 1
$$;

-- Down Migration

drop function {{schema}}.drain_order(bigint);
drop function {{schema}}.drain_worker(text);
drop function {{schema}}.obey_stop(bigint, bigint, integer);
drop function {{schema}}._order_drain(bigint[], text);
drop function {{schema}}.stop_consumers(text, text);
drop table {{schema}}._pills;
