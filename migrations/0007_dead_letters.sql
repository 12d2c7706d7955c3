-- Dead letters: list, redrive, discard. A dead job lies in its dead-letter queue with its whole
-- history of errors; sent back, it keeps that history and gets fresh attempts.

-- Up Migration

-- Dead, not running jobs that match a filter, oldest first, locked. Keys: ids, dead_letter_queue,
-- queue (where it came from), reason, error (part of the last message), since, until (of its death),
-- payload (contains).
create function {{schema}}.find_dead(p_filter jsonb, p_limit integer)
returns setof {{schema}}.jobs
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_ids bigint[];
  v_in integer;
  v_from integer;
begin
  p_filter := coalesce(p_filter, '{}');
  if jsonb_typeof(p_filter) <> 'object' then
    raise exception 'the filter must be a JSON object, not %', jsonb_typeof(p_filter)
      using errcode = 'HW030', hint = 'for example {"queue": "email", "error": "timeout"}';
  end if;
  select k into v_key from jsonb_object_keys(p_filter) k where k not in ('ids',
    'dead_letter_queue', 'queue', 'reason', 'error', 'since', 'until', 'payload') limit 1;
  if found then
    raise exception 'unknown filter key %', quote_literal(v_key) using errcode = 'HW030',
      hint = 'use ids, dead_letter_queue, queue, reason, error, since, until, payload';
  end if;
  if p_filter ? 'queue' then v_from := queue_id_of(p_filter ->> 'queue'); end if;
  if p_filter ? 'dead_letter_queue' then
    v_in := queue_id_of(p_filter ->> 'dead_letter_queue');
  end if;
  begin
    if p_filter ? 'ids' then
      v_ids := array(select e::bigint from jsonb_array_elements_text(p_filter -> 'ids') e);
    end if;
    perform (p_filter ->> 'since')::timestamptz, (p_filter ->> 'until')::timestamptz;
  exception when others then
    raise exception 'filter % is not valid: %', p_filter, sqlerrm using errcode = 'HW030',
      hint = 'ids is an array of job ids; since and until are times';
  end;
  return query
    select * from jobs j
    where j.dead_at is not null and j.lease_id is null
      and (v_ids is null or j.id = any (v_ids))
      and (v_in is null or j.queue_id = v_in)
      and (v_from is null or j.origin_queue_id = v_from)
      and (not p_filter ? 'reason' or j.dead_reason = p_filter ->> 'reason')
      and (not p_filter ? 'error'
        or strpos(j.errors -> -1 ->> 'message', p_filter ->> 'error') > 0)
      and (not p_filter ? 'since' or j.dead_at >= (p_filter ->> 'since')::timestamptz)
      and (not p_filter ? 'until' or j.dead_at < (p_filter ->> 'until')::timestamptz)
      and (not p_filter ? 'payload' or j.payload @> (p_filter -> 'payload'))
    order by j.dead_at limit least(greatest(p_limit, 0), 100000)
    for update skip locked;
end $$;

-- Sends one dead job to a queue with fresh attempts: a member of a group to the tail of its group. The
-- caller holds the row's lock, and gives what is returned to change_groups(), if it has a queue.
create function {{schema}}.redrive_one(p_job {{schema}}.jobs, p_to integer)
returns {{schema}}.groups
language plpgsql security definer {{settings}} as $$
declare
  -- a parked job has lost its lane: it returns with the default priority
  v_lane smallint := case when p_job.lane = 32767 then 201 else p_job.lane | 1 end;
  v_seq bigint := nextval('job_seq');
  v_joins boolean := p_job.group_key is not null;
begin
  perform add_lane(p_to, v_lane);
  update jobs set queue_id = p_to, lane = v_lane, seq = case when not v_joins then v_seq end,
    group_seq = case when v_joins then v_seq end, run_at = null, dead_at = null,
    dead_reason = null, origin_queue_id = null, uncounted = attempt, crashes = 0
  where id = p_job.id;
  -- a consumer of the dead-letter queue may have snoozed it
  insert into counter_deltas (queue_id, ready, scheduled, dead, bytes)
  values (p_job.queue_id, -(p_job.seq is not null)::integer, -(p_job.seq is null)::integer, -1,
    -p_job.bytes);
  insert into counter_deltas (queue_id, ready, blocked, bytes)
  values (p_to, (not v_joins)::integer, v_joins::integer, p_job.bytes);
  if v_joins then
    return (p_to, p_job.group_key, 0, 1, v_seq - 1, null, null)::groups;
  end if;
  perform ring_queue(p_to, 1, 0);
  return null;
end $$;

create function {{schema}}.redrive(
  p_filter jsonb default '{}', p_limit integer default 1000, p_preview boolean default false,
  p_to text default null
) returns table (id bigint, from_queue text, to_queue text, reason text, error text)
language plpgsql security definer {{settings}} as $$
declare
  v_job jobs;
  v_to integer := case when p_to is not null then queue_id_of(p_to) end;
  v_joined groups[] := '{}';
begin
  for v_job in select * from find_dead(p_filter, p_limit) loop
    id := v_job.id;
    reason := v_job.dead_reason;
    error := v_job.errors -> -1 ->> 'message';
    from_queue := (select name from queues q where q.id = v_job.queue_id);
    -- a job whose own queue was deleted stays where it is unless a destination is named
    select q.name into to_queue from queues q
    where q.id = coalesce(v_to, v_job.origin_queue_id) and q.deleted_at is null;
    if not p_preview and to_queue is not null then
      v_joined := v_joined || redrive_one(v_job, coalesce(v_to, v_job.origin_queue_id));
    end if;
    return next;
  end loop;
  if v_joined <> '{}' then
    perform change_groups(v_joined);
  end if;
end $$;

create function {{schema}}.discard(
  p_filter jsonb default '{}', p_limit integer default 1000, p_preview boolean default false
) returns table (id bigint, queue text, reason text, error text)
language plpgsql security definer {{settings}} as $$
declare
  v_job jobs;
begin
  for v_job in select * from find_dead(p_filter, p_limit) loop
    id := v_job.id;
    reason := v_job.dead_reason;
    error := v_job.errors -> -1 ->> 'message';
    queue := (select name from queues q where q.id = v_job.origin_queue_id);
    if not p_preview then
      perform finish(v_job, 'discarded', v_job.dead_reason);
    end if;
    return next;
  end loop;
end $$;

-- Down Migration

drop function {{schema}}.discard(jsonb, integer, boolean);
drop function {{schema}}.redrive(jsonb, integer, boolean, text);
drop function {{schema}}.redrive_one({{schema}}.jobs, integer);
drop function {{schema}}.find_dead(jsonb, integer);
