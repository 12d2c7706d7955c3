-- Control: what people do to jobs and queues from outside.

-- Up Migration

-- Cancels waiting jobs at once; a running one gets a request, of which its worker is told, unless
-- p_with_running is false. why: of those that were not cancelled at once.
create function {{schema}}.cancel(
  p_ids bigint[], p_reason text default null, p_with_running boolean default true
) returns table (id bigint, outcome text, why text)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_id bigint;
  v_job jobs;
  v_left groups[] := '{}';
  v_told bigint[] := '{}';
begin
  perform lock_jobs(p_ids);
  for v_id in select distinct u from unnest(p_ids) u order by u loop
    id := v_id;
    select * into v_job from jobs j where j.id = v_id for update;
    why := null;
    if not found then
      why := (select 'it is ' || h.state from history_of(array[v_id]) h);
      outcome := case when why is null then 'unknown' else 'finished' end;
      why := coalesce(why, 'no such job, or no longer in the history');
    elsif v_job.lease_id is null then
      perform finish(v_job, 'cancelled', left(p_reason, 500));
      if v_job.group_key is not null then
        v_left := v_left || left_group(v_job);
      end if;
      outcome := 'cancelled';
    elsif not p_with_running then
      outcome := 'running';
      why := 'it has begun meanwhile';
    else
      why := 'it runs: its worker has been told to stop';
      update jobs set cancel_requested = true, cancel_reason = coalesce(left(p_reason, 500), cancel_reason)
      where jobs.id = v_id;
      v_told := v_told || v_job.lease_id;
      perform notify_lease(v_job.lease_id, 'c');
      outcome := 'requested';
    end if;
    return next;
  end loop;
  if v_left <> '{}' then
    perform change_groups(v_left, true, true);
  end if;
  insert into lease_notices (lease_id)
  select l.id from leases l where l.id in (select distinct u from unnest(v_told) u);
end $$;

-- Which of these running jobs are to be cancelled. A worker asks when it is told to look.
create function {{schema}}.cancel_requests(p_lease_id bigint, p_ids bigint[]) returns setof bigint
language sql stable security definer {{settings}} as $$
  select id from jobs where id = any (p_ids) and lease_id = p_lease_id and cancel_requested
$$;

-- Runs waiting jobs without further delay: a scheduled one becomes ready, a dead one is redriven, or
-- stays dead when the queue it came from was deleted. A blocked one keeps its place in its group; so is one
-- that waits for the job before it of its dedupe key.
create function {{schema}}.run_now(p_ids bigint[]) returns table (id bigint, outcome text)
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
  v_job jobs;
  v_joined groups[] := '{}';
begin
  for v_id in select distinct u from unnest(p_ids) u order by u loop
    id := v_id;
    select * into v_job from jobs j where j.id = v_id and j.group_seq is null for update;
    if not found then
      outcome := case when exists (select from jobs j where j.id = v_id) then 'blocked'
        when exists (select from history_of(array[v_id])) then 'finished' else 'unknown' end;
    elsif v_job.lease_id is not null then
      outcome := 'running';
    elsif v_job.seq is null and is_pending(v_job.after_id) then
      outcome := 'blocked';
    else
      outcome := 'ready';
      if v_job.dead_at is null then
        perform put_back(v_job, null, false) where v_job.seq is null;
      elsif exists (select from queues where queues.id = v_job.origin_queue_id and deleted_at is null) then
        v_joined := v_joined || redrive_one(v_job, v_job.origin_queue_id);
      else
        outcome := 'dead';
      end if;
    end if;
    return next;
  end loop;
  if v_joined <> '{}' then
    perform change_groups(v_joined, true, true);
  end if;
end $$;

-- The queues that a name means: one, or all that fit where it has a *, which stands for any text. No name of
-- a queue has one. They are locked in order of their ids, so that two such changes do not block each other.
create function {{schema}}.lock_queues(p_name text) returns integer[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[];
begin
  if p_name not like '%*%' or p_name is null then
    return array[queue_id_of(p_name)];
  end if;
  v_ids := array(
    select id from queues where deleted_at is null
      and name like replace(replace(replace(replace(p_name, E'\\', E'\\\\'), '%', E'\\%'), '_', E'\\_'), '*', '%')
    order by id for no key update);
  if v_ids = '{}' then
    raise exception 'no queue fits %', quote_literal(left(p_name, 140)) using errcode = 'HW001',
      hint = 'see the view queue_stats, or `howdah queues list`';
  end if;
  return v_ids;
end $$;

create function {{schema}}.names_of(p_queue_ids integer[]) returns text[]
language sql stable security definer {{settings}} as $$
  select array_agg(name order by name) from queues where id = any (p_queue_ids)
$$;

-- Returns the names of the queues, as those below do. p_until: the pause ends by itself then; null: with resume_queue().
create function {{schema}}.pause_queue(
  p_name text, p_reason text default null, p_until timestamptz default null
) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[];
begin
  if p_until <= clock() or p_until > clock() + interval '10 years' then
    raise exception 'a queue cannot be paused until %', p_until using errcode = 'HW062',
      hint = 'name a time that is to come, at most 10 years ahead';
  end if;
  v_ids := lock_queues(p_name);
  update queues set paused_reason = left(p_reason, 500), paused_until = p_until,
    paused_at = case when paused_until <= clock() then clock() else coalesce(paused_at, clock()) end
  where id = any (v_ids);
  if p_until is not null then
    perform ring_queue(id, 16, 0) from unnest(v_ids) id;  -- that they learn when to come again
  end if;
  return names_of(v_ids);
end $$;

create function {{schema}}.resume_queue(p_name text) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := lock_queues(p_name);
begin
  update queues set paused_at = null, paused_reason = null, paused_until = null
  where id = any (v_ids);
  perform ring_queue(id, 16, 0) from unnest(v_ids) id;
  return names_of(v_ids);
end $$;

-- Closed to new jobs: enqueue() refuses them; what is there is claimed, retried and redriven as before.
create function {{schema}}.close_queue(p_name text, p_reason text default null) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := lock_queues(p_name);
begin
  update queues
  set closed_at = coalesce(closed_at, clock()), closed_reason = left(p_reason, 500)
  where id = any (v_ids);
  return names_of(v_ids);
end $$;

create function {{schema}}.open_queue(p_name text) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := lock_queues(p_name);
begin
  update queues set closed_at = null, closed_reason = null
  where id = any (v_ids);
  return names_of(v_ids);
end $$;

-- Jobs of a queue that are not finished, from the counters: no table is read.
create function {{schema}}.queue_size(p_queue_id integer) returns bigint
language sql stable security definer {{settings}} as $$
  select coalesce(sum(n), 0)::bigint from (
    select ready + scheduled + running + blocked as n from counters where queue_id = p_queue_id
    union all
    select ready + scheduled + running + blocked from counter_deltas where queue_id = p_queue_id
  ) c
$$;

-- Refuses while jobs are there, unless forced: then its waiting jobs are recorded as discarded. An
-- enqueue that races the deletion is not lost: prune() buries what it finds in a deleted queue.
create function {{schema}}.delete_queue(p_name text, p_force boolean default false) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id integer := queue_id_of(p_name);
  v_ids bigint[];
  v_job jobs;
  v_left groups[] := '{}';
begin
  if v_id = 1 then
    raise exception 'queue % cannot be deleted', quote_literal(p_name) using errcode = 'HW005',
      hint = 'it is where dead jobs go by default';
  end if;
  if not p_force and queue_size(v_id) > 0 then
    raise exception 'queue % still has jobs', quote_literal(p_name) using errcode = 'HW005',
      hint = 'drain it, or force the deletion: waiting jobs are then discarded';
  end if;
  update queues set dead_letter_queue_id = 1 where dead_letter_queue_id = v_id and id <> v_id;
  update queues set deleted_at = clock() where id = v_id;
  -- unforced, what an enqueue brought since the count is left to prune()
  if p_force then
    -- each by its index; that of scheduled jobs is not by queues, so it is read only where there are some
    v_ids := array(
      select id from jobs where queue_id = v_id and seq is not null and lease_id is null
      union all
      select id from jobs where queue_id = v_id and group_seq is not null
      union all
      select id from jobs where queue_id = v_id and seq is null and run_at is not null and group_seq is null
        and (select sum(n) <> 0 from (select scheduled as n from counters where queue_id = v_id
          union all select scheduled from counter_deltas where queue_id = v_id) c));
  end if;
  perform lock_jobs(v_ids);
  for v_job in select * from jobs where id = any (v_ids) and queue_id = v_id and lease_id is null
    order by id for update loop
    perform finish(v_job, 'discarded', 'queue deleted');
    v_left := v_left || left_group(v_job);
  end loop;
  perform change_groups(v_left, true, true);
end $$;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop function {{schema}}.delete_queue(text, boolean);
drop function {{schema}}.queue_size(integer);
drop function {{schema}}.open_queue(text);
drop function {{schema}}.close_queue(text, text);
drop function {{schema}}.resume_queue(text);
drop function {{schema}}.pause_queue(text, text, timestamptz);
drop function {{schema}}.names_of(integer[]);
drop function {{schema}}.lock_queues(text);
drop function {{schema}}.run_now(bigint[]);
drop function {{schema}}.cancel_requests(bigint, bigint[]);
drop function {{schema}}.cancel(bigint[], text, boolean);
