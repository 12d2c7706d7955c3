-- Cron schedules. The leader's scheduler reads what is due, works the times out (TypeScript knows cron and
-- time zones, SQL does not), and hands a plan back: exactly one job a nominal time.

-- Up Migration

-- Cron schedules. The leader's scheduler reads what is due, works the times out (TypeScript knows cron and
-- time zones, SQL does not), and hands a plan back: exactly one job a nominal time.



create table {{schema}}._schedules (
  id            bigint generated always as identity constraint schedules_pkey primary key,
  name          text collate "C" not null,
  owner         text collate "C",          -- the program that declares it; null: made by hand
  cron          text not null,
  zone          text not null,
  job           jsonb not null,            -- as enqueue() takes it; its queue by name, which may go
  bytes         integer not null,          -- of job
  missed        text not null,
  missed_max    integer not null,
  paused_at     timestamptz,
  paused_reason text,
  revision      bigint not null default 1, -- grows with every change: a plan made before it is void
  after_at      timestamptz not null,      -- nominal times up to here are decided, and never come again
  next_at       timestamptz,               -- the first after it; null: not worked out yet, or none
  due_at        timestamptz,               -- when the scheduler looks at it; null: paused, or in error
  error         text,                      -- why it can never fire
  last_at       timestamptz,               -- the nominal time that was decided last, and what came of it
  last_outcome  text,
  last_error    text,
  last_job_id   bigint,
  created_at    timestamptz not null,
  updated_at    timestamptz not null,      -- by people, not by the scheduler
  constraint schedules_missed_check check (missed in ('skip', 'once', 'all')),
  constraint schedules_missed_max_check check (missed_max between 1 and 1000)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create unique index schedules_name_key on {{schema}}._schedules (name);

create index schedules_owner_idx on {{schema}}._schedules (owner) where owner is not null;

create index schedules_due_idx on {{schema}}._schedules (due_at) where due_at is not null;

-- What became of each nominal time, for a day. Its key is what makes it one job a nominal time, whatever
-- clocks and leaders do; after_at goes on guarding when the row has gone.
create table {{schema}}._schedule_runs (
  schedule_id bigint not null,
  nominal_at  timestamptz not null,
  decided_at  timestamptz not null,
  outcome     text not null,
  job_id      bigint,
  error       text,
  constraint schedule_runs_pkey primary key (schedule_id, nominal_at),
  constraint schedule_runs_outcome_check
    check (outcome in ('enqueued', 'duplicate', 'refused', 'skipped'))
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create index schedule_runs_decided_idx on {{schema}}._schedule_runs (decided_at);

-- The job of one nominal time: it says of which. Like _ms_to_time() it is inlined: thousands are made at once.
create function {{schema}}._schedule_job(p_name text, p_job jsonb, p_nominal_at timestamptz)
returns jsonb
language sql stable as $$
  select {{schema}}._with_header(p_job, 'howdah-schedule', jsonb_build_object('name', p_name, 'at',
    to_char(p_nominal_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
$$;

-- Refuses what cannot be a schedule. Of cron only the form: the numbers are looked at by whoever works out
-- the times, which marks a schedule that is wrong and never lets it hold up others.
create function {{schema}}._check_schedule(p_name text, p_schedule jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_job jsonb;
  v_queue _queues;
  v_problem text;
  v_text record;
  v_cron text := btrim(p_schedule ->> 'cron');
  v_zone text := coalesce(p_schedule ->> 'zone', 'UTC');
begin
  if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$' then
    raise exception 'schedule name % is not valid', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW191',
      hint = 'use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit';
  end if;
  if jsonb_typeof(p_schedule) is distinct from 'object' then
    raise exception 'a schedule must be a JSON object, not %',
      coalesce(jsonb_typeof(p_schedule), 'null') using errcode = 'HW191',
      hint = 'for example {"cron": "0 3 * * *", "zone": "Europe/Berlin", "queue": "reports"}';
  end if;
  select k into v_key from jsonb_object_keys(p_schedule) k
  where k not in ('cron', 'zone', 'missed', 'missed_max', 'queue', 'payload', 'priority', 'delay_ms',
    'ttl_ms', 'max_attempts', 'headers', 'dedupe', 'on_full', 'group', 'weight') limit 1;
  if found then
    raise exception 'unknown key % of a schedule', quote_literal(left(v_key, 140))
      using errcode = 'HW191', hint = 'see the table of keys in docs/schedules.md';
  end if;
  if jsonb_typeof(p_schedule -> 'cron') is distinct from 'string' or length(v_cron) > 200
    or v_cron !~* '^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9a-z*/,#-]+([[:space:]]+[0-9a-z*/,#-]+){4,5})$'
  then
    raise exception 'cron expression % is not valid', coalesce(quote_literal(left(v_cron, 100)), 'null')
      using errcode = 'HW192',
      hint = 'use five fields, or six with seconds, such as 0 3 * * 1-5; at most 200 characters';
  end if;
  begin
    if v_zone !~ '^[A-Za-z][A-Za-z0-9_+/-]{1,63}$' or (clock() at time zone v_zone) is null then
      raise invalid_parameter_value;
    end if;
  exception when invalid_parameter_value then
    raise exception 'time zone % does not exist', quote_literal(left(v_zone, 100))
      using errcode = 'HW193', hint = 'use a name such as Europe/Berlin or UTC';
  end;
  if coalesce(p_schedule -> 'missed', '"once"') not in ('"skip"', '"once"', '"all"') then
    raise exception 'missed % is not valid', left((p_schedule -> 'missed')::text, 60)
      using errcode = 'HW191', hint = 'use skip, once or all';
  end if;
  if _is_out_of_range(p_schedule -> 'missed_max', 1, 1000) then
    raise exception 'missed_max % is not valid', left((p_schedule -> 'missed_max')::text, 60)
      using errcode = 'HW191', hint = 'use a whole number from 1 to 1000';
  end if;
  v_job := '{"payload": null}' || p_schedule;
  if coalesce(jsonb_typeof(v_job -> 'headers'), 'null') in ('null', 'object') then
    v_job := _schedule_job(p_name, v_job, clock());  -- with its stamp they have to fit, too
  end if;
  select * into v_queue from _queues where name = p_schedule ->> 'queue' and deleted_at is null;
  v_problem := _job_problem(v_job, v_queue.id, v_queue.payload_bytes_max);
  if v_problem is not null then
    v_text := _describe_problem(v_problem, v_job);
    raise exception '%', v_text.message using errcode = v_problem, hint = v_text.hint;
  end if;
end $$;

create function {{schema}}._check_owner(p_owner text) returns void
language plpgsql immutable security definer {{settings}} as $$
begin
  if p_owner is null or length(p_owner) not between 1 and 200 then
    raise exception 'owner % is not valid', coalesce(quote_literal(left(p_owner, 140)), 'null')
      using errcode = 'HW191', hint = 'use 1 to 200 characters';
  end if;
end $$;

-- Creates the schedule, or gives the one of this name these values; keys that are left out take their
-- default. A pause stays. 'created', 'changed' or 'unchanged', which writes nothing.
create function {{schema}}.put_schedule(p_name text, p_schedule jsonb, p_owner text default null)
returns text
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_old _schedules;
  v_new _schedules;
begin
  perform _check_schedule(p_name, p_schedule);
  if p_owner is not null then
    perform _check_owner(p_owner);
  end if;
  v_new.cron := regexp_replace(btrim(p_schedule ->> 'cron'), '[[:space:]]+', ' ', 'g');
  v_new.zone := coalesce(p_schedule ->> 'zone', 'UTC');
  v_new.missed := coalesce(p_schedule ->> 'missed', 'once');
  v_new.missed_max := coalesce((p_schedule ->> 'missed_max')::numeric::integer, 100);
  v_new.job := '{"payload": null}' || (p_schedule - '{cron,zone,missed,missed_max}'::text[]);
  v_new.bytes := octet_length(v_new.job::text);
  insert into _schedules (name, owner, cron, zone, job, bytes, missed, missed_max, after_at, due_at,
    created_at, updated_at)
  select p_name, p_owner, v_new.cron, v_new.zone, v_new.job, v_new.bytes, v_new.missed,
    v_new.missed_max, v_now, v_now, v_now, v_now
  where not exists (select from _schedules where name = p_name)
  on conflict (name) do nothing;
  if found then
    perform _ring_scheduler();
    return 'created';
  end if;
  select * into v_old from _schedules where name = p_name for update;
  if not found then
    raise exception 'schedule % was deleted meanwhile', quote_literal(p_name)
      using errcode = '40001', hint = 'try again';
  end if;
  if v_old.owner is distinct from p_owner then
    raise exception 'a schedule named % exists already, %', quote_literal(p_name),
      coalesce('declared by ' || quote_literal(v_old.owner), 'made by hand')
      using errcode = 'HW194',
      hint = 'choose another name, or delete that one with delete_schedule() first';
  end if;
  if (v_old.cron, v_old.zone, v_old.job, v_old.missed, v_old.missed_max, v_old.error is null)
    = (v_new.cron, v_new.zone, v_new.job, v_new.missed, v_new.missed_max, true) then
    return 'unchanged';
  end if;
  if (v_old.cron, v_old.zone, v_old.error is null) = (v_new.cron, v_new.zone, true) then
    v_new.after_at := v_old.after_at;
    v_new.next_at := v_old.next_at;
  else
    v_new.after_at := greatest(v_old.after_at, v_now);
  end if;
  update _schedules set cron = v_new.cron, zone = v_new.zone, job = v_new.job, bytes = v_new.bytes,
    missed = v_new.missed, missed_max = v_new.missed_max, after_at = v_new.after_at,
    next_at = v_new.next_at, error = null, revision = revision + 1, updated_at = v_now,
    due_at = case when paused_at is null then coalesce(v_new.next_at, v_now) end
  where id = v_old.id;
  perform _ring_scheduler();
  return 'changed';
end $$;

-- Makes the schedules of one owner those of an array of objects that have a name, too. Others are never
-- touched. One that is given under a new name, and otherwise as it was, is renamed: it keeps its pause, its
-- next time and its last outcome. A row for each that is there, or was.
create function {{schema}}.sync_schedules(p_owner text, p_schedules jsonb)
returns table (name text, change text)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_names text[];
  v_gone bigint[];  -- of those that are there and not given
  v_moves jsonb;    -- a new name, and the id of the one that had the same content under another
  v_given record;
  v_renamed _schedules;
  v_change text;
begin
  perform _check_owner(p_owner);
  if jsonb_typeof(p_schedules) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_schedules) e
    where coalesce(jsonb_typeof(e -> 'name'), '') <> 'string') then
    raise exception 'the schedules must be a JSON array of objects with a name' using errcode = 'HW191',
      hint = 'for example [{"name": "nightly", "cron": "0 3 * * *", "queue": "reports"}]';
  end if;
  v_names := array(select e ->> 'name' from jsonb_array_elements(p_schedules) e);
  if cardinality(v_names) > (select count(distinct n) from unnest(v_names) n) then
    raise exception 'two schedules are named %', (select quote_literal(left(n, 140))
        from unnest(v_names) n group by n having count(*) > 1 limit 1)
      using errcode = 'HW194', hint = 'give each a name of its own';
  end if;
  -- processes that start together take turns
  perform 1 from _locks where id = 1 + (hashtext(p_owner) & 63) for update;
  -- in the order in which the scheduler locks them
  perform 1 from _schedules s where s.owner = p_owner order by s.id for update;
  v_gone := array(
    select s.id from _schedules s where s.owner = p_owner and s.name not in (select unnest(v_names)));
  -- those of one content by name, the new beside the gone: sorted, for each with each would be quadratic
  select coalesce(jsonb_object_agg(m.new_name, m.gone_id), '{}') into v_moves from (
    select max(c.new_name) as new_name, max(c.gone_id) as gone_id from (
      select u.zone, u.cron, u.job, u.new_name, u.gone_id,
        row_number() over (partition by u.zone, u.cron, u.job, u.gone_id is null order by u.name) as n
      from (
        select s.name, s.zone, s.cron, s.job, null::text as new_name, s.id as gone_id
        from _schedules s where s.id = any (v_gone)
        union all
        select e ->> 'name', coalesce(e ->> 'zone', 'UTC'),
          regexp_replace(btrim(e ->> 'cron'), '[[:space:]]+', ' ', 'g'),
          '{"payload": null}' || (e - '{name,cron,zone,missed,missed_max}'::text[]), e ->> 'name', null
        from jsonb_array_elements(p_schedules) e
        where not exists (select from _schedules s where s.name = e ->> 'name')
      ) u
    ) c group by c.zone, c.cron, c.job, c.n having count(*) = 2
  ) m;
  v_gone := array(select g from unnest(v_gone) g except select v::bigint from jsonb_each_text(v_moves) m (k, v));
  for v_given in
    select e ->> 'name' as name, e - 'name' as schedule from jsonb_array_elements(p_schedules) e
    order by e ->> 'name' collate "C"
  loop
    name := v_given.name;
    change := null;
    if v_moves ? v_given.name then
      perform _check_schedule(v_given.name, v_given.schedule);
      update _schedules s set name = v_given.name, revision = revision + 1
      where s.id = (v_moves ->> v_given.name)::bigint;
      change := 'renamed';
    end if;
    v_change := put_schedule(v_given.name, v_given.schedule, p_owner);
    change := coalesce(change, v_change);
    return next;
  end loop;
  for v_renamed in
    select * from _schedules s where s.id = any (v_gone) order by s.name for update
  loop
    perform delete_schedule(v_renamed.name);
    name := v_renamed.name;
    change := 'removed';
    return next;
  end loop;
end $$;

create function {{schema}}._schedule_id_of(p_name text) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
begin
  select id into v_id from _schedules where name = p_name for update;
  if not found then
    raise exception 'schedule % does not exist', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW195', hint = 'see the view schedules, or `howdah schedules list`';
  end if;
  return v_id;
end $$;

-- Fires no more until it is resumed. Pausing it twice is fine, and the newer reason holds.
create function {{schema}}.pause_schedule(p_name text, p_reason text default null) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := _schedule_id_of(p_name);
begin
  update _schedules set paused_at = coalesce(paused_at, clock()), paused_reason = left(p_reason, 500),
    due_at = null, revision = revision + 1
  where id = v_id;
end $$;

-- Goes on with the next nominal time; what came while it was paused is not made up for.
create function {{schema}}.resume_schedule(p_name text) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := _schedule_id_of(p_name);
begin
  update _schedules set paused_at = null, paused_reason = null, next_at = null,
    after_at = greatest(after_at, clock()), due_at = case when error is null then clock() end,
    revision = revision + 1
  where id = v_id and paused_at is not null;
  if found then
    perform _ring_scheduler();
  end if;
end $$;

-- Jobs that it has enqueued stay.
create function {{schema}}.delete_schedule(p_name text) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := _schedule_id_of(p_name);
begin
  delete from _schedules where id = v_id;
  delete from _schedule_runs where schedule_id = v_id;
end $$;

-- Down Migration

drop function {{schema}}.delete_schedule(text);
drop function {{schema}}.resume_schedule(text);
drop function {{schema}}.pause_schedule(text, text);
drop function {{schema}}._schedule_id_of(text);
drop function {{schema}}.sync_schedules(text, jsonb);
drop function {{schema}}.put_schedule(text, jsonb, text);
drop function {{schema}}._check_owner(text);
drop function {{schema}}._check_schedule(text, jsonb);
drop function {{schema}}._schedule_job(text, jsonb, timestamptz);
drop table {{schema}}._schedule_runs;
drop table {{schema}}._schedules;
