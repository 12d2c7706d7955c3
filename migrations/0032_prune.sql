-- Housekeeping, once an hour: days of the history are made and dropped, queues that were deleted are forgotten.

-- Up Migration

-- Makes the partition of a day, and moves there what the default partition has of it. It is made beside and
-- attached, which locks the default partition. Locked first, for a moment or not at all, so that nothing is
-- written there between the move and the attachment.
create function {{schema}}._create_partition(p_day date) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_name text := '_history_' || to_char(p_day, 'YYYYMMDD');
begin
  perform set_config('lock_timeout', '100ms', true);
  lock table _history_default in access exclusive mode;
  execute format('create table %I (like _history including all)', v_name);
  execute format('alter table %I replica identity full', v_name);
  execute format('with moved as (delete from _history_default
    where finished_at >= %1$L and finished_at < %2$L returning *)
    insert into %3$I select * from moved', _day_start(p_day), _day_start(p_day + 1), v_name);
  execute format('alter table _history attach partition %I for values from (%L) to (%L)', v_name,
    _day_start(p_day), _day_start(p_day + 1));
  insert into _history_days (day) values (p_day)
  on conflict (day) do update set low_id = null, high_id = null, noted_at = null;
end $$;

-- Notes which ids are in the days that are over: at most 30 a call, so few are locked. A day to which an open
-- transaction has written is left to the next call; so is one that ended less than an hour ago, for a time is
-- taken before its row is written. Returns how many were noted.
create function {{schema}}._note_days() returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_day date;
  v_low bigint;
  v_high bigint;
  v_noted integer := 0;
begin
  -- partitions that were made or dropped by hand
  with there as (
    select pg_catalog.to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass(format('%I._history', current_schema())) and c.relname ~ '^_history_[0-9]{8}$'
  ), gone as (
    delete from _history_days where day not in (select day from there)
  )
  insert into _history_days (day) select day from there on conflict do nothing;
  update _history_days set low_id = null, high_id = null, noted_at = null where noted_at > v_now;
  for v_day in
    select day from _history_days
    where high_id is null and _day_start(day + 1)::timestamptz < v_now - interval '1 hour' order by day desc limit 30
  loop
    begin
      execute format('lock table %I in share mode nowait', '_history_' || to_char(v_day, 'YYYYMMDD'));
      execute format('select coalesce(min(id), 1), coalesce(max(id), 0) from %I',
        '_history_' || to_char(v_day, 'YYYYMMDD')) into v_low, v_high;
      update _history_days set low_id = v_low, high_id = v_high, noted_at = v_now where day = v_day;
      v_noted := v_noted + 1;
    exception when lock_not_available or undefined_table then
      null;
    end;
  end loop;
  return v_noted;
end $$;

-- How long the history is kept: as long as the longest retention of any queue.
create function {{schema}}._history_kept() returns interval
language sql stable security definer {{settings}} as $$
  select max(retention_ms) * interval '1 millisecond' from _queues where deleted_at is null
$$;

-- Creates the partitions of history for today and the days ahead, and for days of which the default partition
-- has rows that are to be kept. Each on its own: one that fails, because its name is taken or it is locked, is
-- left to the next run.
create function {{schema}}._create_partitions(out created integer, out problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_day date;
begin
  created := 0;
  for v_day in
    select generate_series(0, 3) + (clock() at time zone 'UTC')::date
    union
    (select distinct (finished_at at time zone 'UTC')::date as day from _history_default
    where finished_at >= clock() - _history_kept() order by day limit 100)
    order by 1
  loop
    continue when to_regclass(format('%I.%I', current_schema(), '_history_' || to_char(v_day, 'YYYYMMDD')))
      is not null;
    begin
      perform _create_partition(v_day);
      created := created + 1;
    exception
      when lock_not_available then null;  -- in use: the next run tries again
      when others then
        problems := problems || format('partition of %s cannot be made: %s', to_char(v_day, 'YYYY-MM-DD'), sqlerrm);
    end;
  end loop;
end $$;

-- Retention: a day's partition goes when the longest retention of any queue has passed. It is emptied
-- first, which locks that day only; dropping needs history itself and gives up soon if it is in use. Each on
-- its own: one that cannot be dropped keeps no other.
create function {{schema}}._drop_partitions(out dropped integer, out problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_name text;
  v_keep interval := _history_kept();
begin
  dropped := 0;
  for v_name in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass(format('%I._history', current_schema()))
      and c.relname ~ '^_history_[0-9]{8}$'
      and (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC'
        < clock() - v_keep
    order by 1
  loop
    begin
      perform set_config('lock_timeout', '100ms', true);
      execute format('truncate %I', v_name);
      execute format('drop table %I', v_name);
      delete from _history_days where day = pg_catalog.to_date(right(v_name, 8), 'YYYYMMDD');
      dropped := dropped + 1;
    exception
      when lock_not_available then null;  -- in use: the next run tries again
      when others then problems := problems || format('%s cannot be dropped: %s', v_name, sqlerrm);
    end;
  end loop;
end $$;

-- Rows whose day never got a partition of its own: those that are kept no longer. It waits for nobody.
create function {{schema}}._clear_default(p_limit integer) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_cleared integer;
begin
  with gone as (
    delete from _history_default where ctid = any (array(
      select d.ctid from _history_default d where d.finished_at < (select clock()) - (select _history_kept())
      limit p_limit for update skip locked))
    returning 1
  )
  select count(*) into v_cleared from gone;
  return v_cleared;
end $$;

-- Queues that have jobs which are ready or run, or blocked: a look into an index for each, however many jobs and
-- deleted queues there are.
create function {{schema}}._queues_in_use() returns setof integer
language sql stable security definer {{settings}} as $$
  with recursive ready as (
    (select queue_id from _jobs where seq is not null order by queue_id limit 1)
    union all
    select (select j.queue_id from _jobs j where j.seq is not null and j.queue_id > r.queue_id
      order by j.queue_id limit 1)
    from ready r where r.queue_id is not null
  ), blocked as (
    (select queue_id from _jobs where group_seq is not null order by queue_id limit 1)
    union all
    select (select j.queue_id from _jobs j where j.group_seq is not null and j.queue_id > b.queue_id
      order by j.queue_id limit 1)
    from blocked b where b.queue_id is not null
  )
  select queue_id from ready where queue_id is not null
  union select queue_id from blocked where queue_id is not null
$$;

-- Jobs that an enqueue put into a queue while it was deleted, at most a thousand of a kind and queue.
create function {{schema}}._bury_orphans() returns void
language plpgsql security definer {{settings}} as $$
declare
  v_queue_id integer;
  v_job _jobs;
  v_left _groups[] := '{}';
begin
  for v_queue_id in
    select u from _queues_in_use() u
    where not exists (select from _queues q where q.id = u and q.deleted_at is null) order by u limit 100
  loop
    for v_job in
      select * from _jobs j where j.queue_id = v_queue_id and j.seq is not null and j.lease_id is null
      order by j.lane, j.seq limit 1000 for update skip locked
    loop
      perform _bury(v_job, 'queue deleted');
      v_left := v_left || _left_group(v_job);
    end loop;
    for v_job in
      select * from _jobs j where j.queue_id = v_queue_id and j.group_seq is not null
      order by j.group_key, j.group_seq limit 1000
    loop
      continue when not _try_group(v_job);
      select * into v_job from _jobs j where j.id = v_job.id and j.group_seq is not null for update;
      continue when not found;
      perform _bury(v_job, 'queue deleted');
      v_left := v_left || _left_group(v_job);
    end loop;
  end loop;
  perform _change_groups(v_left);
end $$;

-- Rows of deleted queues of which nothing is left in jobs, nor, by now, in the history. Returns how many.
create function {{schema}}._forget_queues(p_limit integer default 1000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_ids integer[] := array(
    select q.id from _queues q
    where q.deleted_at < (select clock()) - (select _history_kept()) - interval '2 days'
      and not exists (select from _counters c
        where c.queue_id = q.id and (c.ready, c.scheduled, c.running, c.blocked, c.dead) <> (0, 0, 0, 0, 0))
      and not exists (select from _jobs j where j.queue_id = q.id and j.seq is not null)
      and not exists (select from _jobs j where j.queue_id = q.id and j.group_seq is not null)
      and not exists (select from _jobs j where j.origin_queue_id = q.id)
    order by q.deleted_at limit p_limit for update skip locked);
begin
  if v_ids <> '{}' then
    update _queues set dead_letter_queue_id = 1 where dead_letter_queue_id = any (v_ids);
    delete from _counters where queue_id = any (v_ids);
    delete from _limits where queue_id = any (v_ids);
    delete from _lane_floors where queue_id = any (v_ids);
    delete from _group_openings where queue_id = any (v_ids);
    delete from _queues where id = any (v_ids);
  end if;
  return cardinality(v_ids);
end $$;

-- Housekeeping, each step on its own. problems: what could not be done, and why; null where all could.
create function {{schema}}.prune()
returns table (created integer, dropped integer, cleared integer, problems text[])
language plpgsql security definer {{settings}} as $$
declare
  v_found record;
begin
  -- whoever is at it does all of it, or the next round does
  perform 1 from _locks where id = 0 for update skip locked;
  if not found then
    created := 0;
    dropped := 0;
    cleared := 0;
    return next;
    return;
  end if;
  begin
    perform _bury_orphans();
  exception when others then
    problems := problems || format('jobs of deleted queues cannot be buried: %s', sqlerrm);
  end;
  begin
    perform _forget_queues();
  exception when others then
    problems := problems || format('deleted queues cannot be forgotten: %s', sqlerrm);
  end;
  v_found := _create_partitions();
  created := v_found.created;
  problems := problems || v_found.problems;
  v_found := _drop_partitions();
  dropped := v_found.dropped;
  problems := problems || v_found.problems;
  begin
    perform _note_days();
  exception when others then
    problems := problems || format('days of the history cannot be noted: %s', sqlerrm);
  end;
  cleared := _clear_default(10000);
  -- of transactions that ended after the lease had
  delete from _lease_notices n where not exists (select from _leases l where l.id = n.lease_id);
  delete from _left_settles s where not exists (select from _leases l where l.id = s.lease_id);
  return next;
end $$;

do $$ begin perform {{schema}}._create_partitions(); end $$;

-- Down Migration

drop function {{schema}}.prune();
drop function {{schema}}._forget_queues(integer);
drop function {{schema}}._bury_orphans();
drop function {{schema}}._queues_in_use();
drop function {{schema}}._clear_default(integer);
drop function {{schema}}._drop_partitions();
drop function {{schema}}._create_partitions();
drop function {{schema}}._history_kept();
drop function {{schema}}._note_days();
drop function {{schema}}._create_partition(date);
