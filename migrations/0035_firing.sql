-- Firing: a plan of the scheduler becomes jobs, exactly one a nominal time.

-- Up Migration

-- Enqueues its job now, also while it is paused; its nominal times stay as they are. Returns the job's id.
create function {{schema}}.run_schedule(p_name text) returns bigint
language plpgsql security definer {{settings}} as $$
declare
  v_id bigint := _schedule_id_of(p_name);
  v_now timestamptz := clock();
  v_job record;
begin
  select e.id, e.created into v_job
  from _schedules s, enqueue(_schedule_job(s.name, s.job, v_now)) e where s.id = v_id;
  update _schedules set last_at = v_now, last_job_id = v_job.id, last_error = null,
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
    select * from _schedules where due_at <= v_now
    order by due_at limit least(greatest(p_limit, 1), 2000) for no key update skip locked) s;
  if due is null then
    -- greatest() passes over null: without a schedule there is no next time
    next_ms := (select case when min(due_at) is not null
        then greatest(ceil(extract(epoch from min(due_at) - v_now) * 1000), 0) end from _schedules
      where due_at is not null);
  end if;
end $$;

-- Whether a plan is malformed: times lie in the years 1 to 9999, and each nominal time is there once.
create function {{schema}}._is_bad_plan(p_plan jsonb) returns boolean
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
    where _is_out_of_range(t.ms, -62135596800000, 253402300799999)
  ) or exists (
    select from jsonb_array_elements(p_plan -> 'runs') r (ms)
    where r.ms = 'null' or _is_out_of_range(r.ms, -62135596800000, 253402300799999)
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
  v_runs _schedule_runs[];
  v_held bigint[];
  v_left bigint[];  -- schedules of which not everything was enqueued or refused
  v_written integer;
begin
  if jsonb_typeof(p_plans) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_plans) p (plan) where _is_bad_plan(p.plan)
  ) or (select count(*) > count(distinct p.plan ->> 'id') from jsonb_array_elements(p_plans) p (plan)) then
    raise exception 'plans must be an array of objects, one a schedule, with its id and revision and whole milliseconds '
      'since 1970' using errcode = 'HW191',
      hint = 'for example [{"id": 1, "revision": 1, "runs": [], "after": 1760000000000, "next": 1760000060000}]';
  end if;
  select coalesce(jsonb_agg(l.plan), '[]') into v_plans from (
    select p.plan from jsonb_array_elements(p_plans) p (plan)
    join _schedules s on s.id = (p.plan ->> 'id')::bigint
    where s.revision = (p.plan ->> 'revision')::bigint and s.due_at is not null
    order by s.id for update of s skip locked
  ) l;
  select array_agg(w.id order by w.nominal_at, w.id), array_agg(w.nominal_at order by w.nominal_at, w.id),
    jsonb_agg(_schedule_job(w.name, w.job, w.nominal_at) order by w.nominal_at, w.id)
  into v_ids, v_nominals, v_jobs
  from (
    select s.id, s.name, s.job, _ms_to_time(r.ms) as nominal_at
    from jsonb_array_elements(v_plans) p (plan)
    join _schedules s on s.id = (p.plan ->> 'id')::bigint
    cross join lateral jsonb_array_elements(p.plan -> 'runs') r (ms)
    where not exists (
      select from _schedule_runs x where x.schedule_id = s.id and x.nominal_at = _ms_to_time(r.ms)
        and x.outcome <> 'refused')
  ) w;
  planned := jsonb_array_length(v_plans);
  if v_ids is not null then
    v_runs := _enqueue_runs(v_ids, v_nominals, v_jobs, v_now);
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
      update _schedules s set due_at = v_now + interval '2 seconds' where s.id = any (v_held);
    end if;
    insert into _schedule_runs as r select u.* from unnest(v_runs) u
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
  insert into _schedule_runs (schedule_id, nominal_at, decided_at, outcome)
  select (p.plan ->> 'id')::bigint, _ms_to_time(p.plan -> 'skipped'), v_now, 'skipped'
  from jsonb_array_elements(v_plans) p (plan) where p.plan ->> 'skipped' is not null
  on conflict do nothing;
  get diagnostics skipped = row_count;

  update _schedules s set
    revision = s.revision + 1,
    after_at = greatest(s.after_at, coalesce(
      n.stuck_at - interval '1 millisecond', _ms_to_time(n.plan -> 'after'))),
    next_at = coalesce(n.stuck_at, _ms_to_time(n.plan -> 'next')),
    due_at = least(case when n.stuck_at is not null then v_now + interval '15 seconds' end,
      _ms_to_time(n.plan -> 'next')),
    error = n.plan ->> 'error',
    last_at = coalesce(n.nominal_at, s.last_at),
    last_outcome = coalesce(n.outcome, s.last_outcome),
    last_error = case when n.outcome is null then s.last_error else n.error end,
    last_job_id = coalesce(n.job_id, s.last_job_id)
  from (
    select p.plan, k.stuck_at, l.*
    from jsonb_array_elements(v_plans) p (plan)
    cross join lateral (
      select array(select _ms_to_time(e) from jsonb_array_elements((p.plan -> 'runs') || (p.plan -> 'skipped')) e) as times
    ) t
    join _schedules o on o.id = (p.plan ->> 'id')::bigint
    cross join lateral (
      select min(r.nominal_at) as stuck_at from _schedule_runs r
      where r.schedule_id = o.id and r.nominal_at = any (t.times) and r.outcome = 'refused'
        and o.missed <> 'skip'
    ) k
    left join lateral (
      select r.nominal_at, r.outcome, r.error, r.job_id from _schedule_runs r
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
create function {{schema}}._enqueue_runs(
  p_ids bigint[], p_nominals timestamptz[], p_jobs jsonb, p_now timestamptz
) returns {{schema}}._schedule_runs[]
language plpgsql security definer {{settings}} as $$
declare
  v_runs _schedule_runs[];
  v_one _schedule_runs[];
  v_plain integer[] := '{}';  -- waits for nobody's group or dedupe key
  v_held bigint[] := '{}';
begin
  select array_agg((p_ids[e.ordinal], p_nominals[e.ordinal], p_now,
    case when e.error_code is not null then 'refused' when e.created then 'enqueued'
      else 'duplicate' end, e.id, e.error_code || ': ' || e.error_message || '; ' || e.error_hint)::_schedule_runs)
  into v_runs from enqueue(p_jobs, 'report') e;
  return v_runs;
exception when others then
  -- "not now" is for everybody to try again
  if sqlstate in ('40001', '40P01', '57014') then
    raise;
  end if;
  if cardinality(p_ids) = 1 then
    return array[(p_ids[1], p_nominals[1], p_now, case when sqlstate = '55P03' then 'held' else 'refused' end,
      null, sqlstate || ': ' || sqlerrm)::_schedule_runs];
  end if;
  v_runs := '{}';
  if sqlstate = '55P03' then
    select array_agg(e.n order by e.n) into v_plain from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    where not e.j ?| '{group,dedupe}';
    if cardinality(v_plain) < cardinality(p_ids) then
      v_runs := _enqueue_runs(array(select p_ids[n] from unnest(v_plain) n),
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
    v_one := _enqueue_runs(p_ids[v_n:v_n], p_nominals[v_n:v_n], jsonb_build_array(p_jobs -> (v_n - 1)), p_now);
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
  delete from _schedule_runs where ctid = any (array(
    select r.ctid from _schedule_runs r where r.decided_at < (select clock()) - interval '1 day'
    order by r.decided_at limit least(greatest(p_limit, 0), 100000) for update skip locked));
  get diagnostics v_pruned = row_count;
  return v_pruned;
end $$;

-- Down Migration

drop function {{schema}}.prune_schedule_runs(integer);
drop function {{schema}}._enqueue_runs(bigint[], timestamptz[], jsonb, timestamptz);
drop function {{schema}}.fire_schedules(jsonb);
drop function {{schema}}._is_bad_plan(jsonb);
drop function {{schema}}.due_schedules(integer);
drop function {{schema}}.run_schedule(text);
