-- Cron schedules. The leader's scheduler reads what is due, works the times out (TypeScript knows cron and
-- time zones, SQL does not), and hands a plan back: exactly one job a nominal time.

-- Up Migration

create table {{schema}}.schedules (
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

create unique index schedules_name_key on {{schema}}.schedules (name);
create index schedules_owner_idx on {{schema}}.schedules (owner) where owner is not null;
create index schedules_due_idx on {{schema}}.schedules (due_at) where due_at is not null;

-- What became of each nominal time, for a day. Its key is what makes it one job a nominal time, whatever
-- clocks and leaders do; after_at goes on guarding when the row has gone.
create table {{schema}}.schedule_runs (
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

create index schedule_runs_decided_idx on {{schema}}.schedule_runs (decided_at);

-- The scheduler sleeps until something is due; it needs to hear of changes.
create function {{schema}}.ring_scheduler() returns void
language sql security definer {{settings}} as $$
  select notify_lease(lease_id, 's') from leader where expires_at > clock()
$$;

-- The job of one nominal time: it says of which. Like ms_to_time() it is inlined: thousands are made at once.
create function {{schema}}.schedule_job(p_name text, p_job jsonb, p_nominal_at timestamptz)
returns jsonb
language sql stable as $$
  select {{schema}}.with_header(p_job, 'howdah-schedule', jsonb_build_object('name', p_name, 'at',
    to_char(p_nominal_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
$$;

-- Milliseconds since 1970 in JSON, or null.
create function {{schema}}.ms_to_time(p_ms jsonb) returns timestamptz
language sql immutable as $$
  select to_timestamp(nullif(p_ms, 'null')::float8 / 1000)
$$;

-- Refuses what cannot be a schedule. Of cron only the form: the numbers are looked at by whoever works out
-- the times, which marks a schedule that is wrong and never lets it hold up others.
create function {{schema}}.check_schedule(p_name text, p_schedule jsonb) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_key text;
  v_job jsonb;
  v_queue queues;
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
  if is_out_of_range(p_schedule -> 'missed_max', 1, 1000) then
    raise exception 'missed_max % is not valid', left((p_schedule -> 'missed_max')::text, 60)
      using errcode = 'HW191', hint = 'use a whole number from 1 to 1000';
  end if;
  v_job := '{"payload": null}' || p_schedule;
  if coalesce(jsonb_typeof(v_job -> 'headers'), 'null') in ('null', 'object') then
    v_job := schedule_job(p_name, v_job, clock());  -- with its stamp they have to fit, too
  end if;
  select * into v_queue from queues where name = p_schedule ->> 'queue' and deleted_at is null;
  v_problem := job_problem(v_job, v_queue.id, v_queue.payload_bytes_max);
  if v_problem is not null then
    v_text := describe_problem(v_problem, v_job);
    raise exception '%', v_text.message using errcode = v_problem, hint = v_text.hint;
  end if;
end $$;

-- Creates the schedule, or gives the one of this name these values; keys that are left out take their
-- default. A pause stays. 'created', 'changed' or 'unchanged', which writes nothing.
create function {{schema}}.put_schedule(p_name text, p_schedule jsonb, p_owner text default null)
returns text
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
  v_old schedules;
  v_new schedules;
begin
  perform check_schedule(p_name, p_schedule);
  v_new.cron := regexp_replace(btrim(p_schedule ->> 'cron'), '[[:space:]]+', ' ', 'g');
  v_new.zone := coalesce(p_schedule ->> 'zone', 'UTC');
  v_new.missed := coalesce(p_schedule ->> 'missed', 'once');
  v_new.missed_max := coalesce((p_schedule ->> 'missed_max')::numeric::integer, 100);
  v_new.job := '{"payload": null}' || (p_schedule - '{cron,zone,missed,missed_max}'::text[]);
  v_new.bytes := octet_length(v_new.job::text);
  insert into schedules (name, owner, cron, zone, job, bytes, missed, missed_max, after_at, due_at,
    created_at, updated_at)
  select p_name, p_owner, v_new.cron, v_new.zone, v_new.job, v_new.bytes, v_new.missed,
    v_new.missed_max, v_now, v_now, v_now, v_now
  where not exists (select from schedules where name = p_name)
  on conflict (name) do nothing;
  if found then
    perform ring_scheduler();
    return 'created';
  end if;
  select * into v_old from schedules where name = p_name for update;
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
  update schedules set cron = v_new.cron, zone = v_new.zone, job = v_new.job, bytes = v_new.bytes,
    missed = v_new.missed, missed_max = v_new.missed_max, after_at = v_new.after_at,
    next_at = v_new.next_at, error = null, revision = revision + 1, updated_at = v_now,
    due_at = case when paused_at is null then coalesce(v_new.next_at, v_now) end
  where id = v_old.id;
  perform ring_scheduler();
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
  v_given record;
  v_renamed schedules;
  v_change text;
begin
  if p_owner is null or length(p_owner) not between 1 and 200 then
    raise exception 'owner % is not valid', coalesce(quote_literal(left(p_owner, 140)), 'null')
      using errcode = 'HW191', hint = 'use 1 to 200 characters';
  end if;
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
  perform 1 from locks where id = 1 + (hashtext(p_owner) & 63) for update;
  -- in the order in which the scheduler locks them
  perform 1 from schedules s where s.owner = p_owner order by s.id for update;
  v_gone := array(
    select s.id from schedules s where s.owner = p_owner and s.name not in (select unnest(v_names)));
  for v_given in
    select e ->> 'name' as name, e - 'name' as schedule from jsonb_array_elements(p_schedules) e
    order by e ->> 'name' collate "C"
  loop
    name := v_given.name;
    change := null;
    if not exists (select from schedules s where s.name = v_given.name) then
      perform check_schedule(v_given.name, v_given.schedule);
      select s.* into v_renamed from schedules s
      where s.id = any (v_gone) and s.zone = coalesce(v_given.schedule ->> 'zone', 'UTC')
        and s.cron = regexp_replace(btrim(v_given.schedule ->> 'cron'), '[[:space:]]+', ' ', 'g')
        and s.job = '{"payload": null}' || (v_given.schedule - '{cron,zone,missed,missed_max}'::text[])
      order by s.name limit 1 for update;
      if found then
        update schedules s set name = v_given.name, revision = revision + 1 where s.id = v_renamed.id;
        v_gone := array_remove(v_gone, v_renamed.id);
        change := 'renamed';
      end if;
    end if;
    v_change := put_schedule(v_given.name, v_given.schedule, p_owner);
    change := coalesce(change, v_change);
    return next;
  end loop;
  for v_renamed in
    select * from schedules s where s.id = any (v_gone) order by s.name for update
  loop
    perform delete_schedule(v_renamed.name);
    name := v_renamed.name;
    change := 'removed';
    return next;
  end loop;
end $$;

create function {{schema}}.schedule_id_of(p_name text) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint;
begin
  select id into v_id from schedules where name = p_name for update;
  if not found then
    raise exception 'schedule % does not exist', coalesce(quote_literal(left(p_name, 140)), 'null')
      using errcode = 'HW195', hint = 'see schedules_view, or `howdah schedules list`';
  end if;
  return v_id;
end $$;

-- Fires no more until it is resumed. Pausing it twice is fine, and the newer reason holds.
create function {{schema}}.pause_schedule(p_name text, p_reason text default null) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := schedule_id_of(p_name);
begin
  update schedules set paused_at = coalesce(paused_at, clock()), paused_reason = left(p_reason, 500),
    due_at = null, revision = revision + 1
  where id = v_id;
end $$;

-- Goes on with the next nominal time; what came while it was paused is not made up for.
create function {{schema}}.resume_schedule(p_name text) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := schedule_id_of(p_name);
begin
  update schedules set paused_at = null, paused_reason = null, next_at = null,
    after_at = greatest(after_at, clock()), due_at = case when error is null then clock() end,
    revision = revision + 1
  where id = v_id and paused_at is not null;
  if found then
    perform ring_scheduler();
  end if;
end $$;

-- Jobs that it has enqueued stay.
create function {{schema}}.delete_schedule(p_name text) returns void
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := schedule_id_of(p_name);
begin
  delete from schedules where id = v_id;
  delete from schedule_runs where schedule_id = v_id;
end $$;

-- Enqueues its job now, also while it is paused; its nominal times stay as they are. Returns the job's id.
create function {{schema}}.run_schedule(p_name text) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := schedule_id_of(p_name);
  v_now timestamptz := clock();
  v_job record;
begin
  select e.id, e.created into v_job
  from schedules s, enqueue(schedule_job(s.name, s.job, v_now)) e where s.id = v_id;
  update schedules set last_at = v_now, last_job_id = v_job.id, last_error = null,
    last_outcome = case when v_job.created then 'enqueued' else 'duplicate' end
  where id = v_id;
  return v_job.id;
end $$;

-- What the scheduler is to work out, longest due first: due is an array of [id, revision, cron, zone, after_ms,
-- missed, missed_max, bytes, next_ms], null when nothing is. next_ms: until the next one is, null when none will be.
create function {{schema}}.due_schedules(
  p_limit integer default 1000, out due jsonb, out now_ms double precision, out next_ms bigint
)
language plpgsql security definer {{settings}} as $$
declare
  v_now timestamptz := clock();
begin
  now_ms := extract(epoch from v_now) * 1000;
  select jsonb_agg(jsonb_build_array(s.id::text, s.revision, s.cron, s.zone,
    floor(extract(epoch from s.after_at) * 1000), s.missed, s.missed_max, s.bytes,
    extract(epoch from s.next_at) * 1000) order by s.due_at)
  into due
  from (
    -- what somebody is changing in an open transaction holds up no others
    select * from schedules where due_at <= v_now
    order by due_at limit least(greatest(p_limit, 1), 2000) for no key update skip locked) s;
  if due is null then
    -- greatest() passes over null: without a schedule there is no next time
    next_ms := (select case when min(due_at) is not null
        then greatest(ceil(extract(epoch from min(due_at) - v_now) * 1000), 0) end from schedules
      where due_at is not null);
  end if;
end $$;

-- Whether a plan is malformed: times lie in the years 1 to 9999, and each nominal time is there once.
create function {{schema}}.is_bad_plan(p_plan jsonb) returns boolean
language plpgsql immutable security definer {{settings}} as $$
begin
  -- step by step: none of these is looked at before what it needs is known
  if (jsonb_typeof(p_plan) = 'object' and p_plan ->> 'id' ~ '^[0-9]{1,18}$'
    and p_plan ->> 'revision' ~ '^[0-9]{1,18}$'
    and coalesce(jsonb_typeof(p_plan -> 'runs'), 'array') = 'array'
    and coalesce(jsonb_typeof(p_plan -> 'error'), 'null') in ('string', 'null')) is not true then
    return true;
  end if;
  return exists (
    select from unnest(array[p_plan -> 'skipped', p_plan -> 'after', p_plan -> 'next']) t (ms)
    where is_out_of_range(t.ms, -62135596800000, 253402300799999)
  ) or exists (
    select from jsonb_array_elements(p_plan -> 'runs') r (ms)
    where r.ms = 'null' or is_out_of_range(r.ms, -62135596800000, 253402300799999)
  ) or (select count(*) > count(distinct r.ms) from jsonb_array_elements(p_plan -> 'runs') r (ms));
end $$;

-- Carries out plans, made by whoever knows cron, in one transaction: {"id", "revision", "runs" (nominal times to
-- enqueue a job for), "skipped" (the last one that is not made up for), "after" (all up to here are
-- decided), "next", "error" (it can never fire)}; times in milliseconds since 1970. A plan of an older
-- revision is passed over, so that of two leaders only one carries it out; so is one whose schedule is locked: it
-- stays due. A job that is refused (the queue is
-- full, closed or gone) is tried again, unless what is missed is skipped. One that would have to wait for an open
-- transaction, which holds its group or its dedupe key, is put off for 2 seconds and holds up no others.
-- planned: how many schedules were looked at, so that there may be more.
-- Locks schedules by id, then what enqueue() locks.
create function {{schema}}.fire_schedules(p_plans jsonb)
returns table (planned integer, enqueued integer, refused integer, skipped integer)
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_plans jsonb;
  v_ids bigint[];
  v_nominals timestamptz[];
  v_jobs jsonb;
  v_runs schedule_runs[];
  v_held bigint[];
  v_left bigint[];  -- schedules of which not everything was enqueued or refused
  v_written integer;
begin
  if jsonb_typeof(p_plans) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_plans) p (plan) where is_bad_plan(p.plan)
  ) or (select count(*) > count(distinct p.plan ->> 'id') from jsonb_array_elements(p_plans) p (plan)) then
    raise exception 'plans must be an array of objects, one a schedule, with its id and revision and whole milliseconds '
      'since 1970' using errcode = 'HW191',
      hint = 'for example [{"id": 1, "revision": 1, "runs": [], "after": 1760000000000, "next": 1760000060000}]';
  end if;
  select coalesce(jsonb_agg(l.plan), '[]') into v_plans from (
    select p.plan from jsonb_array_elements(p_plans) p (plan)
    join schedules s on s.id = (p.plan ->> 'id')::bigint
    where s.revision = (p.plan ->> 'revision')::bigint and s.due_at is not null
    order by s.id for update of s skip locked
  ) l;
  select array_agg(w.id order by w.nominal_at, w.id), array_agg(w.nominal_at order by w.nominal_at, w.id),
    jsonb_agg(schedule_job(w.name, w.job, w.nominal_at) order by w.nominal_at, w.id)
  into v_ids, v_nominals, v_jobs
  from (
    select s.id, s.name, s.job, ms_to_time(r.ms) as nominal_at
    from jsonb_array_elements(v_plans) p (plan)
    join schedules s on s.id = (p.plan ->> 'id')::bigint
    cross join lateral jsonb_array_elements(p.plan -> 'runs') r (ms)
    where not exists (
      select from schedule_runs x where x.schedule_id = s.id and x.nominal_at = ms_to_time(r.ms)
        and x.outcome <> 'refused')
  ) w;
  planned := jsonb_array_length(v_plans);
  if v_ids is not null then
    v_runs := enqueue_runs(v_ids, v_nominals, v_jobs, v_now);
    v_held := array(select distinct u.schedule_id from unnest(v_runs) u where u.outcome = 'held');
    v_runs := array(select u from unnest(v_runs) u where u.outcome <> 'held');
    if cardinality(v_runs) < cardinality(v_ids) then
      v_left := array(
        select distinct l.id from (
          select u.id, u.at from unnest(v_ids, v_nominals) u (id, at)
          except select u.schedule_id, u.nominal_at from unnest(v_runs) u
        ) l);
      v_plans := (
        select coalesce(jsonb_agg(p.plan), '[]') from jsonb_array_elements(v_plans) p (plan)
        where (p.plan ->> 'id')::bigint <> all (v_left));
      update schedules s set due_at = v_now + interval '2 seconds' where s.id = any (v_held);
    end if;
    insert into schedule_runs as r select u.* from unnest(v_runs) u
    on conflict (schedule_id, nominal_at) do update
    set decided_at = excluded.decided_at, outcome = excluded.outcome, job_id = excluded.job_id,
      error = excluded.error
    where r.outcome = 'refused';
    get diagnostics v_written = row_count;
    if v_written <> cardinality(v_runs) then
      -- cannot be while the rows of the schedules are locked; a second job would be worse than an error
      raise exception 'a nominal time was decided twice' using errcode = '40001';
    end if;
  end if;
  insert into schedule_runs (schedule_id, nominal_at, decided_at, outcome)
  select (p.plan ->> 'id')::bigint, ms_to_time(p.plan -> 'skipped'), v_now, 'skipped'
  from jsonb_array_elements(v_plans) p (plan) where p.plan ->> 'skipped' is not null
  on conflict do nothing;
  get diagnostics skipped = row_count;

  update schedules s set
    revision = s.revision + 1,
    after_at = greatest(s.after_at, coalesce(
      n.stuck_at - interval '1 millisecond', ms_to_time(n.plan -> 'after'))),
    next_at = coalesce(n.stuck_at, ms_to_time(n.plan -> 'next')),
    due_at = least(case when n.stuck_at is not null then v_now + interval '15 seconds' end,
      ms_to_time(n.plan -> 'next')),
    error = n.plan ->> 'error',
    last_at = coalesce(n.nominal_at, s.last_at),
    last_outcome = coalesce(n.outcome, s.last_outcome),
    last_error = case when n.outcome is null then s.last_error else n.error end,
    last_job_id = coalesce(n.job_id, s.last_job_id)
  from (
    select p.plan, k.stuck_at, l.*
    from jsonb_array_elements(v_plans) p (plan)
    cross join lateral (
      select array(select ms_to_time(e) from jsonb_array_elements((p.plan -> 'runs') || (p.plan -> 'skipped')) e) as times
    ) t
    join schedules o on o.id = (p.plan ->> 'id')::bigint
    cross join lateral (
      select min(r.nominal_at) as stuck_at from schedule_runs r
      where r.schedule_id = o.id and r.nominal_at = any (t.times) and r.outcome = 'refused'
        and o.missed <> 'skip'
    ) k
    left join lateral (
      select r.nominal_at, r.outcome, r.error, r.job_id from schedule_runs r
      where r.schedule_id = o.id and r.nominal_at = any (t.times)
      order by r.outcome = 'refused' desc, r.nominal_at desc limit 1
    ) l on true
  ) n
  where s.id = (n.plan ->> 'id')::bigint;
  perform prune_schedule_runs(4000);
  refused := (select count(*) from unnest(v_runs) u where u.outcome = 'refused');
  enqueued := (select count(*) from unnest(v_runs) u where u.outcome = 'enqueued');
  return next;
end $$;

-- Enqueues a job each. Where one of them makes the statement fail, they are tried one by one, so that it fails
-- alone. What an open transaction holds has the outcome 'held'; when 25 were, the others have none: they are left
-- to the next call.
create function {{schema}}.enqueue_runs(
  p_ids bigint[], p_nominals timestamptz[], p_jobs jsonb, p_now timestamptz
) returns {{schema}}.schedule_runs[]
language plpgsql security definer {{settings}} as $$
declare
  v_runs schedule_runs[];
  v_one schedule_runs[];
  v_plain integer[] := '{}';  -- waits for nobody's group or dedupe key
  v_held bigint[] := '{}';
begin
  select array_agg((p_ids[e.ordinal], p_nominals[e.ordinal], p_now,
    case when e.error_code is not null then 'refused' when e.created then 'enqueued'
      else 'duplicate' end, e.id, e.error_code || ': ' || e.error_message || '; ' || e.error_hint)::schedule_runs)
  into v_runs from enqueue(p_jobs, 'report') e;
  return v_runs;
exception when others then
  -- "not now" is for everybody to try again
  if sqlstate in ('40001', '40P01', '57014') then
    raise;
  end if;
  if cardinality(p_ids) = 1 then
    return array[(p_ids[1], p_nominals[1], p_now, case when sqlstate = '55P03' then 'held' else 'refused' end,
      null, sqlstate || ': ' || sqlerrm)::schedule_runs];
  end if;
  v_runs := '{}';
  if sqlstate = '55P03' then
    select array_agg(e.n order by e.n) into v_plain from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    where not e.j ?| '{group,dedupe}';
    if cardinality(v_plain) < cardinality(p_ids) then
      v_runs := enqueue_runs(array(select p_ids[n] from unnest(v_plain) n),
        array(select p_nominals[n] from unnest(v_plain) n),
        (select jsonb_agg(p_jobs -> (n - 1)) from unnest(v_plain) n), p_now);
    else
      v_plain := '{}';
    end if;
    -- what is held now will be held for longer than this
    perform set_config('lock_timeout', '20ms', true);
  end if;
  for v_n in 1 .. cardinality(p_ids) loop
    continue when v_n = any (v_plain) or p_ids[v_n] = any (v_held);
    exit when cardinality(v_held) >= 25;
    v_one := enqueue_runs(p_ids[v_n:v_n], p_nominals[v_n:v_n], jsonb_build_array(p_jobs -> (v_n - 1)), p_now);
    if v_one[1].outcome = 'held' then
      v_held := v_held || p_ids[v_n];
    end if;
    v_runs := v_runs || v_one;
  end loop;
  return v_runs;
end $$;

-- Forgets what became of nominal times after a day.
create function {{schema}}.prune_schedule_runs(p_limit integer default 10000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_pruned integer;
begin
  delete from schedule_runs where ctid = any (array(
    select r.ctid from schedule_runs r where r.decided_at < (select clock()) - interval '1 day'
    order by r.decided_at limit least(greatest(p_limit, 0), 100000) for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- Schedules, with what became of the job enqueued last while there is a row of it.
create view {{schema}}.schedules_view as
select s.name, s.owner, s.job ->> 'queue' as queue, s.cron, s.zone, s.missed, s.missed_max,
  s.job -> 'payload' as payload, nullif(s.job -> 'headers', 'null') as headers,
  s.job - '{queue,payload,headers}'::text[] as options,
  s.paused_at is not null as paused, s.paused_at, s.paused_reason,
  case when s.paused_at is null then s.next_at end as next_at, s.after_at, s.error,
  s.last_at, s.last_outcome, s.last_error, s.last_job_id,
  j.state as last_job_state, j.finished_at as last_job_finished_at, j.last_error as last_job_error,
  j.errors -> -1 as last_job_error_json,  -- whole, for it may be encoded
  s.created_at, s.updated_at
from {{schema}}.schedules s
left join lateral (
  select a.state, a.finished_at, a.last_error, a.errors from {{schema}}.find_jobs(array[s.last_job_id]) a limit 1
) j on true;

-- What became of the nominal times of the last day.
create view {{schema}}.schedule_runs_view as
select s.name, r.nominal_at, r.outcome, r.job_id, r.error, r.decided_at
from {{schema}}.schedule_runs r join {{schema}}.schedules s on s.id = r.schedule_id;

revoke execute on all functions in schema {{schema}} from public;

-- Down Migration

drop view {{schema}}.schedule_runs_view;
drop view {{schema}}.schedules_view;
drop function {{schema}}.prune_schedule_runs(integer);
drop function {{schema}}.enqueue_runs(bigint[], timestamptz[], jsonb, timestamptz);
drop function {{schema}}.fire_schedules(jsonb);
drop function {{schema}}.is_bad_plan(jsonb);
drop function {{schema}}.due_schedules(integer);
drop function {{schema}}.run_schedule(text);
drop function {{schema}}.delete_schedule(text);
drop function {{schema}}.resume_schedule(text);
drop function {{schema}}.pause_schedule(text, text);
drop function {{schema}}.schedule_id_of(text);
drop function {{schema}}.sync_schedules(text, jsonb);
drop function {{schema}}.put_schedule(text, jsonb, text);
drop function {{schema}}.check_schedule(text, jsonb);
drop function {{schema}}.ms_to_time(jsonb);
drop function {{schema}}.schedule_job(text, jsonb, timestamptz);
drop function {{schema}}.ring_scheduler();
drop table {{schema}}.schedule_runs;
drop table {{schema}}.schedules;
