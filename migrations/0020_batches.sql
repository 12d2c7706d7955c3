-- Batches: sets of jobs with a job that follows when all have ended. Topics: one publication, a job in each
-- queue that is subscribed.
--
-- What changes a batch is only ever inserted into batch_deltas, so that no enqueue and no settle waits for
-- another. Whoever holds the row of a batch folds its deltas, all that are committed, and decides: so the
-- books are exact where it matters, and the job that follows is enqueued in the transaction that writes
-- finished_at, once. A settle that sees that it was the last decides at once when that costs little;
-- else fold_batches() does, a duty of maintenance.
-- Lock order: jobs, then the batch. Adding a job locks its batch for key share first of all, so that a
-- batch is not closed meanwhile. A settle never waits for the row of a batch.

-- Up Migration

create table {{schema}}.batches (
  id          bigint generated always as identity constraint batches_pkey primary key,
  name        text,
  on_complete jsonb,                 -- the job that follows, as enqueue() takes it; null: none does
  opened_at   timestamptz not null default {{schema}}.clock(),
  closed_at   timestamptz,           -- from then on nothing is added
  finished_at timestamptz,
  -- without what is in batch_deltas
  total       bigint not null default 0,
  completed   bigint not null default 0,
  failed      bigint not null default 0,
  job_id      bigint,                -- the job that followed
  problem     text,                  -- why that could not be enqueued, and when it is tried again
  retry_at    timestamptz
) with (fillfactor = 50, autovacuum_vacuum_threshold = 100);

create index batches_retry_idx on {{schema}}.batches (retry_at) where retry_at is not null;
create index batches_finished_idx on {{schema}}.batches (finished_at) where finished_at is not null;

create table {{schema}}.batch_deltas (
  batch_id  bigint not null,
  id        bigint generated always as identity,
  added     integer not null default 0,
  completed integer not null default 0,
  failed    integer not null default 0,
  constraint batch_deltas_pkey primary key (batch_id, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

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
    v_job := with_counts(v_job, row(9e17::bigint, null, null, null, null, null,
      9e17::bigint, 9e17::bigint, 9e17::bigint, null, null, null)::batches);
    v_problem := (select job_problem(v_job, q.id, q.payload_bytes_max)
      from (values (v_job ->> 'queue')) v (name)
      left join queues q on q.name = v.name and q.deleted_at is null);
    if v_problem is not null then
      v_text := describe_problem(v_problem, v_job);
      raise exception 'on_complete: %', v_text.message using errcode = v_problem, hint = v_text.hint;
    end if;
  end if;
  insert into batches (name, on_complete)
  values (p_batch ->> 'name', nullif(p_batch -> 'on_complete', 'null')) returning id into v_id;
  return v_id;
end $$;

-- The job that follows, with the counts of the batch among its headers.
create function {{schema}}.with_counts(p_job jsonb, p_batch {{schema}}.batches) returns jsonb
language sql immutable security definer {{settings}} as $$
  select case when coalesce(jsonb_typeof(p_job -> 'headers'), 'null') not in ('null', 'object') then p_job
    else with_header(p_job, 'howdah-batch', jsonb_build_object('id', p_batch.id::text,
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
  perform 1 from batches where id = p_id for update;
  if not found then
    raise exception 'batch % does not exist', coalesce(p_id::text, 'null') using errcode = 'HW200',
      hint = 'open it with open_batch(); batches are forgotten 7 days after they have ended';
  end if;
  if p_allow_empty is not true and exists (
    select from batch_states where id = p_id and closed_at is null and total = 0
  ) then
    raise exception 'batch % has no jobs', p_id using errcode = 'HW204',
      hint = 'add some, or close it with p_allow_empty (allowEmpty, --allow-empty): what follows it then does at once';
  end if;
  -- an older snapshot may not show what was added last: then the duty decides
  update batches set closed_at = clock(), retry_at = case when not v_is_current then clock() end
  where id = p_id and closed_at is null;
  if v_is_current then
    perform fold_batch(p_id, 2147483647);
  end if;
  return (select state from batch_states where id = p_id);
end $$;

-- Jobs were added; one entry each.
create function {{schema}}.note_added(p_batch_ids bigint[]) returns void
language sql security definer {{settings}} as $$
  insert into batch_deltas (batch_id, added)
  select b, count(*) from unnest(p_batch_ids) b group by b order by b
$$;

-- Jobs of a batch have ended. Whoever ends the last ones and sees that decides at once, unless that
-- would make it wait or read much. Two that end the last ones at the same moment do not see each other: then
-- fold_batches() decides.
create function {{schema}}.note_ended(
  p_batch_id bigint, p_completed bigint, p_failed bigint, p_may_decide boolean default true
) returns void
language plpgsql security definer {{settings}} as $$
begin
  insert into batch_deltas (batch_id, completed, failed) values (p_batch_id, p_completed, p_failed);
  if p_may_decide and exists (
    select from batches b cross join lateral (
      select count(*) as n, sum(d.added - d.completed - d.failed) as pending
      from (select * from batch_deltas where batch_id = b.id limit 201) d
    ) d
    where b.id = p_batch_id and b.closed_at is not null and b.finished_at is null
      and b.total - b.completed - b.failed <= 1000
      and d.n <= 200 and b.total - b.completed - b.failed + d.pending = 0
      and follows_plainly(b.on_complete)
  ) and current_setting('transaction_isolation') = 'read committed' then
    perform fold_batch(p_batch_id);
  end if;
end $$;

-- Ended jobs, one entry each, all of them completed.
create function {{schema}}.note_completed(p_batch_ids bigint[]) returns void
language sql security definer {{settings}} as $$
  select note_ended(b, count(*), 0) from unnest(p_batch_ids) b group by b order by b
$$;

-- Whether enqueueing this job waits for no lock: whoever holds jobs and groups may do it.
create function {{schema}}.follows_plainly(p_job jsonb) returns boolean
language sql stable security definer {{settings}} as $$
  select p_job is null or not p_job ?| '{group,dedupe}' and exists (
    select from queues q where q.name = p_job ->> 'queue' and q.deleted_at is null
      and not q.is_guarded)
$$;

-- A dead job of a batch is sent back: while the batch has not ended it is pending there again. Afterwards it
-- is in none.
create function {{schema}}.rejoin_batch(p_batch_id bigint) returns bigint
language plpgsql security definer {{settings}} as $$
begin
  perform 1 from batches where id = p_batch_id and finished_at is null for share;
  if not found then
    return null;
  end if;
  insert into batch_deltas (batch_id, failed) values (p_batch_id, -1);
  return p_batch_id;
end $$;

-- Folds what has changed in a batch and, when all its jobs have ended, finishes it. Passes over a batch that
-- somebody else folds. Nothing is decided where not all was read: a job would seem to have ended that
-- was never added.
create function {{schema}}.fold_batch(
  p_id bigint, p_limit integer default 10000, out folded integer, out finished boolean
)
language plpgsql security definer {{settings}} as $$
declare
  v_batch batches;
  v_sum record;
begin
  folded := 0;
  finished := false;
  select * into v_batch from batches where id = p_id for no key update skip locked;
  if not found then
    -- of a transaction that added to a batch which is forgotten by now
    delete from batch_deltas where batch_id = p_id and not exists (select from batches where id = p_id);
    return;
  end if;
  with gone as (
    delete from batch_deltas where ctid = any (array(
      select d.ctid from batch_deltas d where d.batch_id = p_id order by d.id limit p_limit))
    returning added, completed, failed
  )
  select count(*)::integer as n, coalesce(sum(added), 0) as added,
    coalesce(sum(completed), 0) as completed, coalesce(sum(failed), 0) as failed
  into v_sum from gone;
  folded := v_sum.n;
  if folded > 0 then
    update batches set total = total + v_sum.added, completed = completed + v_sum.completed,
      failed = failed + v_sum.failed
    where id = p_id returning * into v_batch;
  end if;
  finished := v_batch.closed_at is not null and v_batch.finished_at is null and folded < p_limit
    and v_batch.total = v_batch.completed + v_batch.failed
    and coalesce(v_batch.retry_at <= clock() or v_batch.retry_at > clock() + interval '11 seconds', true)
    and finish_batch(v_batch);
  -- it was only looked at because its closing could not: the next delta makes somebody look
  update batches set retry_at = null where id = p_id and problem is null
    and (retry_at <= clock() or retry_at > clock() + interval '11 seconds');
end $$;

-- Everything has ended: the job that follows is enqueued. Where that is refused, because its queue is
-- full, closed or deleted meanwhile, it is tried again every 10 seconds. The caller holds the row.
create function {{schema}}.finish_batch(p_batch {{schema}}.batches) returns boolean
language plpgsql security definer {{settings}} as $$
declare
  v_job record;
  v_problem text;
begin
  if p_batch.on_complete is null then
    update batches set finished_at = clock(), retry_at = null where id = p_batch.id;
    return true;
  end if;
  begin
    select * into v_job from enqueue(with_counts(p_batch.on_complete, p_batch), 'report');
    v_problem := v_job.error_message || '; ' || v_job.error_hint;
  exception
    when lock_not_available then
      -- an open transaction holds its group or its dedupe key
      update batches set retry_at = clock() + interval '1 second' where id = p_batch.id;
      return false;
    when others then
      v_problem := sqlerrm;
  end;
  update batches set job_id = v_job.id, problem = left(v_problem, 500),
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
      (select d.batch_id from batch_deltas d order by d.batch_id limit 1)
      union all
      select (select d.batch_id from batch_deltas d where d.batch_id > c.batch_id
        order by d.batch_id limit 1)
      from changed c where c.batch_id is not null
    )
    (select batch_id from changed where batch_id is not null limit p_limit)
    union
    (select b.id from batches b where b.retry_at <= (select clock()) order by b.retry_at limit p_limit)
    union
    -- it is never more than 10 seconds off, unless the clock of the server was ahead
    (select b.id from batches b where b.retry_at > (select clock() + interval '11 seconds')
    order by b.retry_at limit p_limit));
  has_more := cardinality(v_ids) >= p_limit;
  foreach v_id in array v_ids loop
    v_one := fold_batch(v_id);
    folded := folded + v_one.folded;
    finished := finished + v_one.finished::integer;
    has_more := has_more or v_one.folded >= 10000;
    -- its group or dedupe key stays locked until the end: two of them would be locked in any order
    if v_one.finished and not (select follows_plainly(on_complete) from batches where id = v_id) then
      has_more := true;
      exit;
    end if;
    if clock_timestamp() > v_until then  -- several had to wait for open transactions
      has_more := true;
      exit;
    end if;
  end loop;
  delete from batches where id = any (array(
    select b.id from batches b where b.finished_at < (select clock()) - interval '7 days'
    order by b.finished_at limit p_limit for update skip locked));
  return next;
end $$;

-- Every batch that is not forgotten. state: open; closed: waits for its jobs; completed; failed: a job is
-- dead, cancelled, expired or discarded.
create view {{schema}}.batch_states as
select b.id, b.name,
  case when b.closed_at is null then 'open' when b.finished_at is null then 'closed'
    when b.failed > 0 then 'failed' else 'completed' end as state,
  b.total + d.added as total,
  b.total + d.added - b.completed - d.completed - b.failed - d.failed as pending,
  b.completed + d.completed as completed, b.failed + d.failed as failed,
  b.on_complete ->> 'queue' as on_complete_queue, b.job_id, b.problem,
  b.opened_at, b.closed_at, b.finished_at
from {{schema}}.batches b
cross join lateral (
  select coalesce(sum(x.added), 0)::bigint as added, coalesce(sum(x.completed), 0)::bigint as completed,
    coalesce(sum(x.failed), 0)::bigint as failed
  from {{schema}}.batch_deltas x where x.batch_id = b.id
) d;

-- Who gets what is published.
create table {{schema}}.subscriptions (
  topic         text not null,
  queue_id      integer not null,
  subscribed_at timestamptz not null default {{schema}}.clock(),
  constraint subscriptions_pkey primary key (topic, queue_id),
  constraint subscriptions_topic_check check (topic ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$')
);

create function {{schema}}.check_topic(p_topic text) returns void
language plpgsql immutable security definer {{settings}} as $$
begin
  if p_topic is null or p_topic !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$' then
    raise exception 'topic % is not valid', coalesce(quote_literal(left(p_topic, 140)), 'null')
      using errcode = 'HW203',
      hint = 'use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit';
  end if;
end $$;

-- From now on the queue gets what is published to the topic. False: it did already.
create function {{schema}}.subscribe(p_topic text, p_queue text) returns boolean
language plpgsql security definer {{settings}} as $$
declare
  v_queue_id integer := queue_id_of(p_queue);
begin
  perform check_topic(p_topic);
  delete from subscriptions s using queues q where q.id = s.queue_id and q.deleted_at is not null;
  insert into subscriptions (topic, queue_id) values (p_topic, v_queue_id) on conflict do nothing;
  return found;
end $$;

-- False: it was not subscribed.
create function {{schema}}.unsubscribe(p_topic text, p_queue text) returns boolean
language plpgsql security definer {{settings}} as $$
begin
  perform check_topic(p_topic);
  delete from subscriptions where topic = p_topic and queue_id = queue_id_of(p_queue);
  return found;
end $$;

-- A job in each queue that is subscribed, or none at all. p_job: {"topic", "payload", ...}, with the options of
-- enqueue() in place of a queue. No row: nobody is subscribed.
create function {{schema}}.publish(p_job jsonb, p_ring boolean default true)
returns table (queue text, id bigint, created boolean)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_topic text := p_job ->> 'topic';
  v_queues text[];
  v_problem text;
  v_text record;
begin
  if jsonb_typeof(p_job) is distinct from 'object' or p_job ? 'queue' then
    raise exception 'what is published must be a JSON object without a queue' using errcode = 'HW018',
      hint = 'for example {"topic": "orders", "payload": {"id": 1}}';
  end if;
  perform check_topic(v_topic);
  v_queues := array(
    select q.name from subscriptions s join queues q on q.id = s.queue_id and q.deleted_at is null
    where s.topic = v_topic order by q.name);
  p_job := p_job - 'topic';
  v_problem := job_problem(p_job, 0, 67108864);
  if v_problem is not null then  -- told even where nobody listens
    v_text := describe_problem(v_problem, p_job);
    raise exception '%', v_text.message using errcode = v_problem, hint = v_text.hint;
  end if;
  if v_queues <> '{}' then
    p_job := with_header(p_job, 'howdah-topic', to_jsonb(v_topic));
    return query
      select v_queues[e.ordinal], e.id, e.created
      from enqueue((select jsonb_agg(p_job || jsonb_build_object('queue', name) order by n)
        from unnest(v_queues) with ordinality u (name, n)), 'raise', p_ring) e
      order by e.ordinal;
  end if;
end $$;

create view {{schema}}.topics as
select s.topic, q.name as queue, s.subscribed_at
from {{schema}}.subscriptions s join {{schema}}.queues q on q.id = s.queue_id and q.deleted_at is null;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop view {{schema}}.topics;
drop function {{schema}}.publish(jsonb, boolean);
drop function {{schema}}.unsubscribe(text, text);
drop function {{schema}}.subscribe(text, text);
drop function {{schema}}.check_topic(text);
drop table {{schema}}.subscriptions;
drop function {{schema}}.fold_batches(integer);
drop function {{schema}}.finish_batch({{schema}}.batches);
drop function {{schema}}.fold_batch(bigint, integer);
drop function {{schema}}.rejoin_batch(bigint);
drop function {{schema}}.follows_plainly(jsonb);
drop function {{schema}}.note_completed(bigint[]);
drop function {{schema}}.note_ended(bigint, bigint, bigint, boolean);
drop function {{schema}}.note_added(bigint[]);
drop function {{schema}}.close_batch(bigint, boolean);
drop function {{schema}}.with_counts(jsonb, {{schema}}.batches);
drop function {{schema}}.open_batch(jsonb);
drop view {{schema}}.batch_states;
drop table {{schema}}.batch_deltas;
drop table {{schema}}.batches;
