-- Batches: sets of jobs with a job that follows when all have ended.
--
-- Whoever holds the row of a batch folds its deltas, all that are committed, and decides: so the
-- books are exact where it matters, and the job that follows is enqueued in the transaction that writes
-- finished_at, once. A settle that sees that it was the last decides at once when that costs little;
-- else fold_batches() does, a duty of maintenance.
-- Lock order: jobs, then the batch. Adding a job locks its batch for key share first of all, so that a
-- batch is not closed meanwhile. A settle never waits for the row of a batch.

-- Up Migration

-- Opens a batch: {"on_complete": a job as enqueue() takes it, "name": for people}. Both may be left out.
-- What is wrong with the job that is to follow is told now, not when it is too late.
create function {{schema}}.open_batch(p_batch jsonb default '{}') returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_job jsonb := nullif(p_batch -> 'on_complete', 'null');
  v_key text;
  v_problem text;
  v_text record;
  v_id bigint;
begin
  if jsonb_typeof(p_batch) = 'object' then
    select k into v_key from jsonb_object_keys(p_batch) k where k not in ('on_complete', 'name') limit 1;
  end if;
  if jsonb_typeof(p_batch) is distinct from 'object' or v_key is not null
    or jsonb_typeof(p_batch -> 'name') not in ('string', 'null')
    or length(p_batch ->> 'name') not between 1 and 200
    or jsonb_typeof(v_job) <> 'object' or v_job ? 'batch' then
    raise exception 'batch % is not valid', left(coalesce(p_batch::text, 'null'), 200)
      using errcode = 'HW202', hint = 'give {"on_complete": {"queue", "payload", ...}, "name": 1 to 200 '
        'characters}; the job that follows is in no batch itself';
  end if;
  if v_job is not null then
    v_job := _with_counts(v_job, row(9e17::bigint, null, null, null, null, null,
      9e17::bigint, 9e17::bigint, 9e17::bigint, null, null, null)::_batches);
    v_problem := (select _job_problem(v_job, q.id, q.payload_bytes_max)
      from (values (v_job ->> 'queue')) v (name)
      left join _queues q on q.name = v.name and q.deleted_at is null);
    if v_problem is not null then
      v_text := _describe_problem(v_problem, v_job);
      raise exception 'on_complete: %', v_text.message using errcode = v_problem, hint = v_text.hint;
    end if;
  end if;
  insert into _batches (name, on_complete)
  values (p_batch ->> 'name', nullif(p_batch -> 'on_complete', 'null')) returning id into v_id;
  return v_id;
end $$;

-- The job that follows, with the counts of the batch among its headers.
create function {{schema}}._with_counts(p_job jsonb, p_batch {{schema}}._batches) returns jsonb
language sql immutable security definer {{settings}} as $$
  select case when coalesce(jsonb_typeof(p_job -> 'headers'), 'null') not in ('null', 'object') then p_job
    else _with_header(p_job, 'howdah-batch', jsonb_build_object('id', p_batch.id::text,
      'total', p_batch.total, 'completed', p_batch.completed, 'failed', p_batch.failed)) end
$$;

-- Nothing is added from now on. Returns its state; closing it again changes nothing. Waits for transactions
-- that are adding to it. A batch without jobs stays open: often what should have filled it has failed, or
-- was forgotten. With p_allow_empty it is complete at once.
create function {{schema}}.close_batch(p_id bigint, p_allow_empty boolean default false) returns text
language plpgsql security definer {{settings}} as $$
declare
  v_is_current boolean := current_setting('transaction_isolation') = 'read committed';
begin
  perform 1 from _batches where id = p_id for update;
  if not found then
    raise exception 'batch % does not exist', coalesce(p_id::text, 'null') using errcode = 'HW200',
      hint = 'open it with open_batch(); batches are forgotten 7 days after they have ended';
  end if;
  if p_allow_empty is not true and exists (
    select from batches where id = p_id and closed_at is null and total = 0
  ) then
    raise exception 'batch % has no jobs', p_id using errcode = 'HW204',
      hint = 'add some, or close it with p_allow_empty (allowEmpty, --allow-empty): what follows it then does at once';
  end if;
  -- an older snapshot may not show what was added last: then the duty decides
  update _batches set closed_at = clock(), retry_at = case when not v_is_current then clock() end
  where id = p_id and closed_at is null;
  if v_is_current then
    perform _fold_batch(p_id, 2147483647);
  end if;
  return (select state from batches where id = p_id);
end $$;

-- Folds what has changed in a batch and, when all its jobs have ended, finishes it. Passes over a batch that
-- somebody else folds. Nothing is decided where not all was read: a job would seem to have ended that
-- was never added.
create function {{schema}}._fold_batch(
  p_id bigint, p_limit integer default 10000, out folded integer, out finished boolean
)
language plpgsql security definer {{settings}} as $$
declare
  v_batch _batches;
  v_sum record;
begin
  folded := 0;
  finished := false;
  select * into v_batch from _batches where id = p_id for no key update skip locked;
  if not found then
    -- of a transaction that added to a batch which is forgotten by now
    delete from _batch_deltas where batch_id = p_id and not exists (select from _batches where id = p_id);
    return;
  end if;
  with gone as (
    delete from _batch_deltas where ctid = any (array(
      select d.ctid from _batch_deltas d where d.batch_id = p_id order by d.id limit p_limit))
    returning added, completed, failed
  )
  select count(*)::integer as n, coalesce(sum(added), 0) as added,
    coalesce(sum(completed), 0) as completed, coalesce(sum(failed), 0) as failed
  into v_sum from gone;
  folded := v_sum.n;
  if folded > 0 then
    update _batches set total = total + v_sum.added, completed = completed + v_sum.completed,
      failed = failed + v_sum.failed
    where id = p_id returning * into v_batch;
  end if;
  finished := v_batch.closed_at is not null and v_batch.finished_at is null and folded < p_limit
    and v_batch.total = v_batch.completed + v_batch.failed
    and coalesce(v_batch.retry_at <= clock() or v_batch.retry_at > clock() + interval '11 seconds', true)
    and _finish_batch(v_batch);
  -- it was only looked at because its closing could not: the next delta makes somebody look
  update _batches set retry_at = null where id = p_id and problem is null
    and (retry_at <= clock() or retry_at > clock() + interval '11 seconds');
end $$;

-- Everything has ended: the job that follows is enqueued. Where that is refused, because its queue is
-- full, closed or deleted meanwhile, it is tried again every 10 seconds. The caller holds the row.
create function {{schema}}._finish_batch(p_batch {{schema}}._batches) returns boolean
language plpgsql security definer {{settings}} as $$
declare
  v_job_id bigint;
  v_problem text;
begin
  if p_batch.on_complete is null then
    update _batches set finished_at = clock(), retry_at = null where id = p_batch.id;
    return true;
  end if;
  begin
    select e.id, e.error_message || '; ' || e.error_hint into v_job_id, v_problem
    from enqueue(_with_counts(p_batch.on_complete, p_batch), 'report') e;
  exception
    when lock_not_available then
      -- an open transaction holds its group or its dedupe key
      update _batches set retry_at = clock() + interval '1 second' where id = p_batch.id;
      return false;
    when deadlock_detected or serialization_failure then
      raise;  -- passing: whoever called tries again
    when others then
      v_job_id := null;
      v_problem := sqlerrm;
  end;
  update _batches set job_id = v_job_id, problem = left(v_problem, 500),
    finished_at = case when v_problem is null then clock() end,
    retry_at = case when v_problem is not null then clock() + interval '10 seconds' end
  where id = p_batch.id;
  return v_problem is null;
end $$;

-- A duty: folds the batches in which something has changed, finishes those that have ended, and forgets
-- them 7 days later. has_more: call again at once.
create function {{schema}}.fold_batches(p_limit integer default 1000)
returns table (folded integer, finished integer, has_more boolean)
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
declare
  v_until timestamptz := clock_timestamp() + interval '500 milliseconds';
  v_ids bigint[];
  v_id bigint;
  v_one record;
begin
  folded := 0;
  finished := 0;
  p_limit := least(greatest(p_limit, 1), 10000);
  v_ids := array(
    with recursive changed as (
      (select d.batch_id from _batch_deltas d order by d.batch_id limit 1)
      union all
      select (select d.batch_id from _batch_deltas d where d.batch_id > c.batch_id
        order by d.batch_id limit 1)
      from changed c where c.batch_id is not null
    )
    (select batch_id from changed where batch_id is not null limit p_limit)
    union
    (select b.id from _batches b where b.retry_at <= (select clock()) order by b.retry_at limit p_limit)
    union
    -- it is never more than 10 seconds off, unless the clock of the server was ahead
    (select b.id from _batches b where b.retry_at > (select clock() + interval '11 seconds')
    order by b.retry_at limit p_limit));
  has_more := cardinality(v_ids) >= p_limit;
  foreach v_id in array v_ids loop
    v_one := _fold_batch(v_id);
    folded := folded + v_one.folded;
    finished := finished + v_one.finished::integer;
    has_more := has_more or v_one.folded >= 10000;
    -- its group or dedupe key stays locked until the end: two of them would be locked in any order
    if v_one.finished and not (select _follows_plainly(on_complete) from _batches where id = v_id) then
      has_more := true;
      exit;
    end if;
    if clock_timestamp() > v_until then  -- several had to wait for open transactions
      has_more := true;
      exit;
    end if;
  end loop;
  delete from _batches where id = any (array(
    select b.id from _batches b where b.finished_at < (select clock()) - interval '7 days'
    order by b.finished_at limit p_limit for update skip locked));
  return next;
end $$;

-- Every batch that is not forgotten. state: open; closed: waits for its jobs; completed; failed: a job is
-- dead, cancelled, expired or discarded.
create view {{schema}}.batches as
select b.id, b.name,
  case when b.closed_at is null then 'open' when b.finished_at is null then 'closed'
    when b.failed > 0 then 'failed' else 'completed' end as state,
  b.total + d.added as total,
  b.total + d.added - b.completed - d.completed - b.failed - d.failed as pending,
  b.completed + d.completed as completed, b.failed + d.failed as failed,
  b.on_complete ->> 'queue' as on_complete_queue, b.job_id, b.problem,
  b.opened_at, b.closed_at, b.finished_at
from {{schema}}._batches b
cross join lateral (
  select coalesce(sum(x.added), 0)::bigint as added, coalesce(sum(x.completed), 0)::bigint as completed,
    coalesce(sum(x.failed), 0)::bigint as failed
  from {{schema}}._batch_deltas x where x.batch_id = b.id
) d;

-- Down Migration

drop view {{schema}}.batches;
drop function {{schema}}.fold_batches(integer);
drop function {{schema}}._finish_batch({{schema}}._batches);
drop function {{schema}}._fold_batch(bigint, integer);
drop function {{schema}}.close_batch(bigint, boolean);
drop function {{schema}}._with_counts(jsonb, {{schema}}._batches);
drop function {{schema}}.open_batch(jsonb);
