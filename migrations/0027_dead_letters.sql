-- Dead letters: list, redrive, discard. A dead job lies in its dead-letter queue with its whole
-- history of errors; sent back, it keeps that history and gets fresh attempts.

-- Up Migration

-- Dead letters: list, redrive, discard. A dead job lies in its dead-letter queue with its whole
-- history of errors; sent back, it keeps that history and gets fresh attempts.



-- What makes errors alike: a hash of the name and of the message without what varies in it (numbers, hex
-- ids, quoted text, white space). Twelve hex digits; null without an error.
create function {{schema}}.error_fingerprint(p_error jsonb) returns text
language sql immutable parallel safe as $$
  select left(md5(coalesce(p_error ->> 'name', '') || chr(10) || left(
    regexp_replace(regexp_replace(regexp_replace(lower(p_error ->> 'message'),
      '"[^"]*"|''[^'']*''|`[^`]*`', '?', 'g'),
      E'[0-9a-f]{8}-[0-9a-f-]{27}|\\m(0x)?(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\\M|[0-9]+([.,:][0-9]+)*', '#', 'g'),
      '[[:space:]]+', ' ', 'g'), 300)), 12)
$$;

-- Whether a dead job fits what _find_dead() has no index for. It is inlined.
create function {{schema}}._fits_dead(p_job {{schema}}._jobs, p_filter jsonb, p_in integer, p_from integer)
returns boolean
language sql stable as $$
  select p_job.lease_id is null and (p_in is null or p_job.queue_id = p_in)
    and (p_from is null or p_job.origin_queue_id = p_from)
    and (not p_filter ? 'reason' or p_job.dead_reason = p_filter ->> 'reason')
    and (not p_filter ? 'error' or strpos(p_job.errors -> -1 ->> 'message', p_filter ->> 'error') > 0)
    and (not p_filter ? 'fingerprint'
      or {{schema}}.error_fingerprint(p_job.errors -> -1) = p_filter ->> 'fingerprint')
    and (not p_filter ? 'payload' or p_job.payload @> (p_filter -> 'payload'))
$$;

-- Dead, not running jobs that match a filter, oldest first, locked. Keys: ids, dead_letter_queue,
-- queue (where it came from), reason, error (part of the last message), fingerprint, since, until (of its death),
-- payload (contains).
create function {{schema}}._find_dead(p_filter jsonb, p_limit integer)
returns setof {{schema}}._jobs
language plpgsql security definer {{settings}} {{plain}} as $$
declare
  v_key text;
  v_ids bigint[];
  v_in integer;
  v_from integer;
  v_since timestamptz;
  v_until timestamptz;
begin
  p_filter := coalesce(p_filter, '{}');
  if jsonb_typeof(p_filter) <> 'object' then
    raise exception 'the filter must be a JSON object, not %', jsonb_typeof(p_filter)
      using errcode = 'HW030', hint = 'for example {"queue": "email", "error": "timeout"}';
  end if;
  select k into v_key from jsonb_object_keys(p_filter) k where k not in ('ids',
    'dead_letter_queue', 'queue', 'reason', 'error', 'fingerprint', 'since', 'until', 'payload') limit 1;
  if found then
    raise exception 'unknown filter key %', quote_literal(v_key) using errcode = 'HW030',
      hint = 'use ids, dead_letter_queue, queue, reason, error, fingerprint, since, until, payload';
  end if;
  if p_filter ? 'queue' then v_from := _queue_id_of(p_filter ->> 'queue'); end if;
  if p_filter ? 'dead_letter_queue' then
    v_in := _queue_id_of(p_filter ->> 'dead_letter_queue');
  end if;
  begin
    if p_filter ? 'ids' then
      v_ids := array(select e::bigint from jsonb_array_elements_text(p_filter -> 'ids') e);
    end if;
    v_since := coalesce((p_filter ->> 'since')::timestamptz, '-infinity');
    v_until := coalesce((p_filter ->> 'until')::timestamptz, 'infinity');
  exception when others then
    raise exception 'filter % is not valid: %', p_filter, sqlerrm using errcode = 'HW030',
      hint = 'ids is an array of job ids; since and until are times';
  end;
  p_limit := least(greatest(p_limit, 0), 100000);
  if v_ids is not null then
    -- said so that only the primary key can find them
    return query
      select * from _jobs j
      where j.id = any (v_ids) and coalesce(j.dead_at, 'infinity') >= v_since
        and coalesce(j.dead_at, 'infinity') < v_until and _fits_dead(j, p_filter, v_in, v_from)
      order by j.dead_at limit p_limit for update skip locked;
  elsif v_from is not null then
    -- rows are compared so that the index over all dead jobs cannot answer: it would read those of all queues
    return query
      select * from _jobs j
      where j.origin_queue_id = v_from and (j.origin_queue_id, j.dead_at) >= (v_from, v_since)
        and (j.origin_queue_id, j.dead_at) < (v_from, v_until) and _fits_dead(j, p_filter, v_in, v_from)
      order by j.dead_at limit p_limit for update skip locked;
  elsif v_in is not null then
    return query
      select * from _jobs j
      where j.queue_id = v_in and j.dead_reason is not null and (j.queue_id, j.dead_at) >= (v_in, v_since)
        and (j.queue_id, j.dead_at) < (v_in, v_until) and _fits_dead(j, p_filter, v_in, v_from)
      order by j.dead_at limit p_limit for update skip locked;
  else
    return query
      select * from _jobs j
      where j.dead_at >= v_since and j.dead_at < v_until and _fits_dead(j, p_filter, v_in, v_from)
      order by j.dead_at limit p_limit for update skip locked;
  end if;
end $$;

-- Sends one dead job to a queue with fresh attempts, at once or at p_run_at: a member of a group to the
-- tail of its group. The caller holds the row's lock, and gives what is returned to _change_groups(), if
-- it has a queue.
create function {{schema}}._redrive_one(
  p_job {{schema}}._jobs, p_to integer, p_run_at timestamptz default null
) returns {{schema}}._groups
language plpgsql security definer {{settings}} as $$
declare
  -- a parked job has lost its lane: it returns with the default priority
  v_lane smallint := case when p_job.lane = 32767 then 201 else _plain_lane(p_job.lane) | 1 end;
  v_seq bigint := nextval('job_seq');
  v_joins boolean := p_job.group_key is not null;
begin
  if p_job.batch_id is not null then
    p_job.batch_id := _rejoin_batch(p_job.batch_id);
  end if;
  update _jobs set queue_id = p_to, lane = v_lane,
    seq = case when not v_joins and p_run_at is null then v_seq end,
    group_seq = case when v_joins then v_seq end, run_at = p_run_at, dead_at = null,
    dead_reason = null, origin_queue_id = null, uncounted = attempt, crashes = 0,
    batch_id = p_job.batch_id
  where id = p_job.id;
  -- a consumer of the dead-letter queue may have snoozed it
  insert into _counter_deltas (queue_id, ready, scheduled, dead, bytes)
  values (p_job.queue_id, -(p_job.seq is not null)::integer, -(p_job.seq is null)::integer, -1,
    _delta_bytes(p_job.queue_id, -p_job.bytes));
  insert into _counter_deltas (queue_id, ready, scheduled, blocked, bytes)
  values (p_to, (not v_joins and p_run_at is null)::integer,
    (not v_joins and p_run_at is not null)::integer, v_joins::integer, _delta_bytes(p_to, p_job.bytes));
  if v_joins then
    return (p_to, p_job.group_key, 0, 1, v_seq - 1, null, null)::_groups;
  end if;
  if p_run_at is null then
    perform _ring_queue(p_to, 1, 0);
  else
    perform _ring_promoter(p_run_at);
  end if;
  return null;
end $$;

-- p_rate: so many jobs a second become ready, the first at once; null: all at once.
create function {{schema}}.redrive(
  p_filter jsonb default '{}', p_limit integer default 1000, p_preview boolean default false,
  p_to text default null, p_rate double precision default null
) returns table (id bigint, from_queue text, to_queue text, reason text, error text)
language plpgsql security definer {{settings}} as $$
declare
  v_job _jobs;
  v_to integer := case when p_to is not null then _queue_id_of(p_to) end;
  v_joined _groups[] := '{}';
  v_now timestamptz := clock();
  v_sent integer := 0;
begin
  if p_rate <= 0 or p_rate > 100000 or p_rate = 'nan' then
    raise exception 'rate % is out of bounds', p_rate using errcode = 'HW072',
      hint = 'use more than 0 and at most 100000 jobs a second, or null for all at once';
  end if;
  if least(greatest(p_limit, 1), 100000) / p_rate > 315360000 then
    raise exception 'rate % is too low: the last of % jobs would run in more than 10 years', p_rate, p_limit
      using errcode = 'HW072', hint = 'raise the rate, or redrive fewer at a time';
  end if;
  for v_job in select * from _find_dead(p_filter, p_limit) loop
    id := v_job.id;
    reason := v_job.dead_reason;
    error := v_job.errors -> -1 ->> 'message';
    from_queue := (select name from _queues q where q.id = v_job.queue_id);
    -- a job whose own queue was deleted stays where it is unless a destination is named
    select q.name into to_queue from _queues q
    where q.id = coalesce(v_to, v_job.origin_queue_id) and q.deleted_at is null;
    if v_to = v_job.queue_id then
      raise exception 'queue % is where dead job % lies', quote_literal(p_to), v_job.id
        using errcode = 'HW072', hint = 'name another destination, or filter by dead_letter_queue';
    end if;
    if not p_preview and to_queue is not null then
      v_joined := v_joined || _redrive_one(v_job, coalesce(v_to, v_job.origin_queue_id),
        case when v_sent > 0 and p_rate is not null
          then v_now + v_sent / p_rate * interval '1 second' end);
      v_sent := v_sent + 1;
    end if;
    return next;
  end loop;
  if v_joined <> '{}' then
    perform _change_groups(v_joined, true, true);
  end if;
end $$;

create function {{schema}}.discard(
  p_filter jsonb default '{}', p_limit integer default 1000, p_preview boolean default false
) returns table (id bigint, queue text, reason text, error text)
language plpgsql security definer {{settings}} as $$
declare
  v_job _jobs;
begin
  for v_job in select * from _find_dead(p_filter, p_limit) loop
    id := v_job.id;
    reason := v_job.dead_reason;
    error := v_job.errors -> -1 ->> 'message';
    queue := (select name from _queues q where q.id = v_job.origin_queue_id);
    if not p_preview then
      perform _finish(v_job, 'discarded', v_job.dead_reason);
    end if;
    return next;
  end loop;
end $$;

-- Dead jobs by the fingerprint of their last error, the largest groups first. Looks at the 100,000 that
-- died last. id: the one of them that died last.
create function {{schema}}.dead_letter_groups(
  p_queue text default null, p_dead_letter_queue text default null, p_limit integer default 100
) returns table (
  fingerprint text, jobs bigint, name text, message text, queues text[],
  first_dead_at timestamptz, last_dead_at timestamptz, id bigint
)
language plpgsql stable security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_from integer := case when p_queue is not null then _queue_id_of(p_queue) end;
  v_in integer := case when p_dead_letter_queue is not null then _queue_id_of(p_dead_letter_queue) end;
begin
  return query
    select g.fingerprint, g.n, e.error ->> 'name', e.error ->> 'message', g.queues, g.first, g.last, g.id
    from (
      select d.fingerprint, count(*) as n, min(d.dead_at) as first, max(d.dead_at) as last,
        (array_agg(d.id order by d.dead_at desc, d.id desc))[1] as id,
        array_agg(distinct o.name order by o.name) filter (where o.name is not null) as queues
      from (
        -- of these three one is read, by its own index
        select x.id, x.dead_at, x.origin_queue_id, error_fingerprint(x.errors -> -1) as fingerprint from (
          (select j.id, j.dead_at, j.origin_queue_id, j.errors from _jobs j
          where v_from is null and v_in is null and j.dead_at is not null
          order by j.dead_at desc limit 100000)
          union all
          (select j.id, j.dead_at, j.origin_queue_id, j.errors from _jobs j
          where j.origin_queue_id = v_from and (v_in is null or j.queue_id = v_in)
          order by j.dead_at desc limit 100000)
          union all
          (select j.id, j.dead_at, j.origin_queue_id, j.errors from _jobs j
          where v_from is null and j.queue_id = v_in and j.dead_reason is not null
          order by j.dead_at desc limit 100000)
        ) x
      ) d left join _queues o on o.id = d.origin_queue_id
      group by d.fingerprint
      order by count(*) desc, max(d.dead_at) desc limit least(greatest(p_limit, 0), 1000)
    ) g
    cross join lateral (select j.errors -> -1 as error from _jobs j where j.id = g.id) e
    order by g.n desc, g.last desc;
end $$;

create view {{schema}}.dead_letters as
select j.id, o.name as queue, q.name as dead_letter_queue, j.dead_reason as reason,
  j.errors -> -1 ->> 'message' as last_error,
  {{schema}}.error_fingerprint(j.errors -> -1) as fingerprint, jsonb_array_length(coalesce(j.errors, '[]')) as errors_count,
  j.dead_at, j.enqueued_at, j.payload, j.headers, j.errors
from {{schema}}._jobs j
join {{schema}}._queues q on q.id = j.queue_id
left join {{schema}}._queues o on o.id = j.origin_queue_id
where j.dead_at is not null;

-- Down Migration

drop view {{schema}}.dead_letters;
drop function {{schema}}.dead_letter_groups(text, text, integer);
drop function {{schema}}.discard(jsonb, integer, boolean);
drop function {{schema}}.redrive(jsonb, integer, boolean, text, double precision);
drop function {{schema}}._redrive_one({{schema}}._jobs, integer, timestamptz);
drop function {{schema}}._find_dead(jsonb, integer);
drop function {{schema}}._fits_dead({{schema}}._jobs, jsonb, integer, integer);
drop function {{schema}}.error_fingerprint(jsonb);
