-- What a batch has of jobs, and how many of those have ended. It is only ever inserted into _batch_deltas, so that no
-- enqueue and no settle waits for another.

-- Up Migration

-- Batches: sets of jobs with a job that follows when all have ended. Topics: one publication, a job in each
-- queue that is subscribed.
--
-- What changes a batch is only ever inserted into _batch_deltas, so that no enqueue and no settle waits for
-- another. Whoever holds the row of a batch folds its deltas, all that are committed, and decides: so the
-- books are exact where it matters, and the job that follows is enqueued in the transaction that writes
-- finished_at, once. A settle that sees that it was the last decides at once when that costs little;
-- else fold_batches() does, a duty of maintenance.
-- Lock order: jobs, then the batch. Adding a job locks its batch for key share first of all, so that a
-- batch is not closed meanwhile. A settle never waits for the row of a batch.



create table {{schema}}._batches (
  id          bigint generated always as identity constraint batches_pkey primary key,
  name        text,
  on_complete jsonb,                 -- the job that follows, as enqueue() takes it; null: none does
  opened_at   timestamptz not null default {{schema}}.clock(),
  closed_at   timestamptz,           -- from then on nothing is added
  finished_at timestamptz,
  -- without what is in _batch_deltas
  total       bigint not null default 0,
  completed   bigint not null default 0,
  failed      bigint not null default 0,
  job_id      bigint,                -- the job that followed
  problem     text,                  -- why that could not be enqueued, and when it is tried again
  retry_at    timestamptz
) with (fillfactor = 50, autovacuum_vacuum_threshold = 100);

create index batches_retry_idx on {{schema}}._batches (retry_at) where retry_at is not null;

create index batches_finished_idx on {{schema}}._batches (finished_at) where finished_at is not null;

create table {{schema}}._batch_deltas (
  batch_id  bigint not null,
  id        bigint generated always as identity,
  added     integer not null default 0,
  completed integer not null default 0,
  failed    integer not null default 0,
  constraint batch_deltas_pkey primary key (batch_id, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Jobs were added; one entry each.
create function {{schema}}._note_added(p_batch_ids bigint[]) returns void
language sql security definer {{settings}} as $$
  insert into _batch_deltas (batch_id, added)
  select b, count(*) from unnest(p_batch_ids) b group by b order by b
$$;

-- Jobs of a batch have ended. Whoever ends the last ones and sees that decides at once, unless that
-- would make it wait or read much. Two that end the last ones at the same moment do not see each other: then
-- fold_batches() decides.
create function {{schema}}._note_ended(
  p_batch_id bigint, p_completed bigint, p_failed bigint, p_may_decide boolean default true
) returns void
language plpgsql security definer {{settings}} as $$
begin
  insert into _batch_deltas (batch_id, completed, failed) values (p_batch_id, p_completed, p_failed);
  if p_may_decide and exists (
    select from _batches b cross join lateral (
      select count(*) as n, sum(d.added - d.completed - d.failed) as pending
      from (select * from _batch_deltas where batch_id = b.id limit 201) d
    ) d
    where b.id = p_batch_id and b.closed_at is not null and b.finished_at is null
      and b.total - b.completed - b.failed <= 1000
      and d.n <= 200 and b.total - b.completed - b.failed + d.pending = 0
      and _follows_plainly(b.on_complete)
  ) and current_setting('transaction_isolation') = 'read committed' then
    perform _fold_batch(p_batch_id);
  end if;
end $$;

-- Ended jobs, one entry each, all of them completed.
create function {{schema}}._note_completed(p_batch_ids bigint[]) returns void
language sql security definer {{settings}} as $$
  select _note_ended(b, count(*), 0) from unnest(p_batch_ids) b group by b order by b
$$;

-- Whether enqueueing this job waits for no lock: whoever holds jobs and groups may do it.
create function {{schema}}._follows_plainly(p_job jsonb) returns boolean
language sql stable security definer {{settings}} as $$
  select p_job is null or not p_job ?| '{group,dedupe}' and exists (
    select from _queues q where q.name = p_job ->> 'queue' and q.deleted_at is null
      and not q.is_guarded)
$$;

-- A dead job of a batch is sent back: while the batch has not ended it is pending there again. Afterwards it
-- is in none.
create function {{schema}}._rejoin_batch(p_batch_id bigint) returns bigint
language plpgsql security definer {{settings}} as $$
begin
  perform 1 from _batches where id = p_batch_id and finished_at is null for share;
  if not found then
    return null;
  end if;
  insert into _batch_deltas (batch_id, failed) values (p_batch_id, -1);
  return p_batch_id;
end $$;

-- Down Migration

drop function {{schema}}._rejoin_batch(bigint);
drop function {{schema}}._follows_plainly(jsonb);
drop function {{schema}}._note_completed(bigint[]);
drop function {{schema}}._note_ended(bigint, bigint, bigint, boolean);
drop function {{schema}}._note_added(bigint[]);
drop table {{schema}}._batch_deltas;
drop table {{schema}}._batches;
