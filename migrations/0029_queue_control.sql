-- Control of queues: pause, close, delete.

-- Up Migration

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
  v_ids := _lock_queues(p_name);
  update _queues set paused_reason = left(p_reason, 500), paused_until = p_until,
    paused_at = case when paused_until <= clock() then clock() else coalesce(paused_at, clock()) end
  where id = any (v_ids);
  if p_until is not null then
    perform _ring_queue(id, 16, 0) from unnest(v_ids) id;  -- that they learn when to come again
  end if;
  return _names_of(v_ids);
end $$;

create function {{schema}}.resume_queue(p_name text) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := _lock_queues(p_name);
begin
  update _queues set paused_at = null, paused_reason = null, paused_until = null
  where id = any (v_ids);
  perform _ring_queue(id, 16, 0) from unnest(v_ids) id;
  return _names_of(v_ids);
end $$;

-- Closed to new jobs: enqueue() refuses them; what is there is claimed, retried and redriven as before.
create function {{schema}}.close_queue(p_name text, p_reason text default null) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := _lock_queues(p_name);
begin
  update _queues
  set closed_at = coalesce(closed_at, clock()), closed_reason = left(p_reason, 500)
  where id = any (v_ids);
  return _names_of(v_ids);
end $$;

create function {{schema}}.open_queue(p_name text) returns text[]
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := _lock_queues(p_name);
begin
  update _queues set closed_at = null, closed_reason = null
  where id = any (v_ids);
  return _names_of(v_ids);
end $$;

-- Refuses while jobs are there, unless forced: then its waiting jobs are recorded as discarded. An
-- enqueue that races the deletion is not lost: prune() buries what it finds in a deleted queue.
create function {{schema}}.delete_queue(p_name text, p_force boolean default false) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id integer := _queue_id_of(p_name);
  v_ids bigint[];
  v_job _jobs;
  v_left _groups[] := '{}';
begin
  if v_id = 1 then
    raise exception 'queue % cannot be deleted', quote_literal(p_name) using errcode = 'HW005',
      hint = 'it is where dead jobs go by default';
  end if;
  if not p_force and _queue_size(v_id) > 0 then
    raise exception 'queue % still has jobs', quote_literal(p_name) using errcode = 'HW005',
      hint = 'drain it, or force the deletion: waiting jobs are then discarded';
  end if;
  -- by id, as whoever pauses many locks them
  perform 1 from _queues q
  where q.id = any (array(select v_id union all select d.id from _queues d where d.dead_letter_queue_id = v_id))
  order by q.id for no key update;
  update _queues set dead_letter_queue_id = 1 where dead_letter_queue_id = v_id and id <> v_id;
  update _queues set deleted_at = clock() where id = v_id;
  -- unforced, what an enqueue brought since the count is left to prune()
  if p_force then
    -- each by its index; that of scheduled jobs is not by queues, so it is read only where there are some
    v_ids := array(
      select id from _jobs where queue_id = v_id and seq is not null and lease_id is null
      union all
      select id from _jobs where queue_id = v_id and group_seq is not null
      union all
      select id from _jobs where queue_id = v_id and seq is null and run_at is not null and group_seq is null
        and (select sum(n) <> 0 from (select scheduled as n from _counters where queue_id = v_id
          union all select scheduled from _counter_deltas where queue_id = v_id) c));
  end if;
  perform _lock_jobs(v_ids);
  for v_job in select * from _jobs where id = any (v_ids) and queue_id = v_id and lease_id is null
    order by id for update loop
    perform _finish(v_job, 'discarded', 'queue deleted');
    v_left := v_left || _left_group(v_job);
  end loop;
  perform _change_groups(v_left, true, true);
end $$;

-- Down Migration

drop function {{schema}}.delete_queue(text, boolean);
drop function {{schema}}.open_queue(text);
drop function {{schema}}.close_queue(text, text);
drop function {{schema}}.resume_queue(text);
drop function {{schema}}.pause_queue(text, text, timestamptz);
