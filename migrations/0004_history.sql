-- History: finished jobs, appended to one partition a day. Retention drops days, never rows.

-- Up Migration

-- Finished jobs, append-only, a partition a day; retention drops partitions, never rows.
create table {{schema}}._history (
  id           bigint not null,
  finished_at  timestamptz not null,
  enqueued_at  timestamptz not null,
  claimed_at   timestamptz,
  queue_id     integer not null,
  attempt      integer not null,
  lane         smallint not null,
  state        text not null,
  reason       text,
  worker       text,
  payload      jsonb not null,
  headers      jsonb,
  errors       jsonb,
  result       jsonb,
  group_key    text collate "C",
  batch_id     bigint,
  constraint history_state_check check (state in ('completed', 'cancelled', 'expired', 'discarded'))
) partition by range (finished_at);

create index history_id_idx on {{schema}}._history (id);

create index history_batch_idx on {{schema}}._history (batch_id, id) where batch_id is not null;

-- Only reached when maintenance has not run for days; prune() moves its rows out.
create table {{schema}}._history_default partition of {{schema}}._history default;

-- Where a publication has all tables, PostgreSQL refuses to delete from one without a key or this.
alter table {{schema}}._history_default replica identity full;

-- Days of the history, and of those that are over which ids they have: so a job is found by its id without a look at,
-- and a lock on, every day that is kept. high_id null: not noted yet, so it is looked at always.
create table {{schema}}._history_days (
  day      date constraint history_days_pkey primary key,
  low_id   bigint,
  high_id  bigint,
  noted_at timestamptz
);

-- Finished jobs by their ids; of one that is there twice, as after a restore, the newest. The days come to be looked
-- at one after another, today first, until all are found. Each statement in here is for one day: of the history as
-- a whole PostgreSQL locks every partition, and all its indexes, before it knows which it will read.
create function {{schema}}._history_of(p_ids bigint[]) returns setof {{schema}}._history
language plpgsql stable security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_today date := v_now at time zone 'UTC';
  v_low bigint;
  v_high bigint;
  v_left bigint[] := p_ids;
  v_asked bigint[];
  v_found bigint[];
  v_day record;
  v_row _history;
begin
  select min(u), max(u) into v_low, v_high from unnest(p_ids) u;
  if v_low is null then
    return;
  end if;
  for v_day in
    select * from (
      select '_history_' || to_char(day, 'YYYYMMDD') as name, day, low_id,
        -- a clock that went ahead and back again has noted days that were not over
        case when noted_at <= v_now then high_id end as high_id from _history_days
      union all select '_history_default', '-infinity', null, null
    ) d where d.high_id is null or d.low_id <= v_high and d.high_id >= v_low
    order by d.day <= v_today desc, d.day desc
  loop
    v_asked := v_left;
    if v_day.high_id is not null then
      v_asked := array(select u from unnest(v_left) u where u between v_day.low_id and v_day.high_id);
      continue when v_asked = '{}';
    end if;
    v_found := '{}';
    begin
      for v_row in execute format('select distinct on (id) * from %I where id = any ($1)
        order by id, finished_at desc', v_day.name) using v_asked
      loop
        v_found := v_found || v_row.id;
        return next v_row;
      end loop;
    exception when undefined_table then
      null;  -- dropped at this very moment
    end;
    if v_found <> '{}' then
      v_left := array(select unnest(v_left) except select unnest(v_found));
      exit when v_left = '{}';
    end if;
  end loop;
end $$;

-- What is large is compressed with lz4 where the server was built with it: enqueueing 16 KiB of JSON takes
-- half the time that pglz takes.
do $$ begin
  alter table {{schema}}._jobs alter payload set compression lz4, alter errors set compression lz4;
  -- the partitions of later days take after their parent; this one is there already
  alter table {{schema}}._history alter payload set compression lz4,
    alter errors set compression lz4, alter result set compression lz4;
  alter table {{schema}}._history_default alter payload set compression lz4,
    alter errors set compression lz4, alter result set compression lz4;
exception when feature_not_supported then
  null;
end $$;

-- Down Migration

drop function {{schema}}._history_of(bigint[]);
drop table {{schema}}._history_days;
drop table {{schema}}._history;
