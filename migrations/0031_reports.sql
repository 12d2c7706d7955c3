-- Reports: what a job tells while it runs (progress, log lines), and whoever waits for its end. Nothing of this
-- is in the row of a job; jobs that report nothing and that nobody waits for pay nothing.

-- Up Migration

-- Reports: what a job tells while it runs (progress, log lines), whoever waits for its end, and changes of
-- jobs that wait. Nothing of this is in the row of a job; jobs that report nothing and that nobody waits
-- for pay nothing.



-- The last thing a job said, one row a job that said anything. Written at most a few times a second for
-- all jobs of a worker; kept as long as history is.
create table {{schema}}._reports (
  job_id      bigint constraint reports_pkey primary key,
  attempt     integer not null,              -- claims so far: a stale worker writes nothing
  progress    jsonb,
  progress_at timestamptz,
  lines       integer not null default 0,    -- log lines so far, those dropped included
  line_bytes  integer not null default 0,    -- of those that are kept
  reported_at timestamptz not null,
  -- when prune_reports() saw it last, at first when it was made; whether its job was not there any more
  looked_at   timestamptz not null default {{schema}}.clock(),
  is_over     boolean not null default false
) with (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 0
);

create index reports_looked_idx on {{schema}}._reports (looked_at);

-- Its last 500 log lines, at most 256 KiB of them.
create table {{schema}}._report_lines (
  job_id  bigint not null,
  n       integer not null,                  -- 1, 2, 3...
  at      timestamptz not null,
  attempt integer not null,                  -- as people count
  level   text not null,
  message text not null,
  fields  jsonb,
  constraint report_lines_pkey primary key (job_id, n)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Waits for jobs: from now on this lease is rung when one of p_add ends, and for those in p_progress also
-- when they report. p_drop: not any more. Tells how those of p_add and p_look stand: each that has ended or
-- is not there (state unknown), and, of those in p_progress, each that is. state null: look again, the
-- answer would grow too long. kept: completed jobs of its queue stay in the history. A ring can be
-- missed by a settle that is under way, so look once more a moment later, and now and then.
create function {{schema}}.watch(
  p_lease_id bigint, p_add bigint[], p_progress bigint[] default '{}', p_drop bigint[] default '{}',
  p_look bigint[] default '{}'
) returns table (
  id bigint, queue text, state text, kept boolean, attempt integer, reason text, errors jsonb, result jsonb,
  progress jsonb, progress_at timestamptz
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
begin
  if cardinality(p_drop) > 0 then
    delete from _watches w where w.job_id = any (p_drop) and w.lease_id = p_lease_id;
  end if;
  if cardinality(p_add) > 0 then
    perform 1 from _leases l where l.id = p_lease_id for key share;
    if not found then
      raise exception 'lease % has ended', p_lease_id using errcode = 'HW020', hint = 'open a new lease';
    end if;
    insert into _watchers (lease_id) select p_lease_id
    where not exists (select from _watchers w where w.lease_id = p_lease_id) on conflict do nothing;
    insert into _watches (job_id, lease_id, wants_progress)
    select distinct u, p_lease_id, coalesce(u in (select unnest(p_progress)), false)
    from unnest(p_add) u where u is not null
    on conflict on constraint watches_pkey do update set wants_progress = excluded.wants_progress
      where not _watches.wants_progress;
  end if;
  return query
    select x.id, x.queue, case when x.size <= 8388608 or x.n = 1 then x.state end, x.kept, x.attempt,
      x.reason, case when x.size <= 8388608 or x.n = 1 then x.errors end,
      case when x.size <= 8388608 or x.n = 1 then x.result end, x.progress, x.progress_at
    from (
      select a.id, q.name as queue, coalesce(case when j.id is null then h.state
          when j.dead_at is not null then 'dead' when j.lease_id is not null then 'running'
          when j.seq is not null then 'ready' when j.group_seq is not null then 'blocked'
          else 'scheduled' end, 'unknown') as state,
        q.retention_ms > 0 as kept,
        case when j.id is null then h.attempt else _attempts_of(j) end as attempt,
        coalesce(j.dead_reason, h.reason) as reason, coalesce(j.errors, h.errors) as errors,
        h.result, r.progress, r.progress_at,
        sum(coalesce(octet_length(h.result::text), 0) + coalesce(octet_length(coalesce(j.errors, h.errors)::text), 0))
          over (order by a.id) as size, row_number() over (order by a.id) as n
      from (
        -- hashed: a walk over a list for each job would be quadratic
        select s.id, s.id in (select unnest(p_add)) as is_added,
          s.id in (select unnest(p_progress)) as wants_progress
        from (
          select u as id from unnest(p_add) u where u is not null
          union select u from unnest(p_look) u where u is not null
        ) s
      ) a
      left join _jobs j on j.id = a.id
      left join _history_of(array(
        select u from (select unnest(p_add) union all select unnest(p_look)) x (u)
        where not exists (select from _jobs g where g.id = u))) h
        on h.id = a.id
      left join _queues q on q.id = coalesce(j.origin_queue_id, j.queue_id, h.queue_id)
      left join lateral (
        select * from _reports p where p.job_id = a.id and a.wants_progress
      ) r on true
      where j.id is null or j.dead_at is not null or a.wants_progress or a.is_added and q.retention_ms = 0
    ) x;
end $$;

-- What jobs that run say: [{"id", "attempt", "progress", "lines": [{"ago_ms", "level", "message",
-- "fields"}], "dropped"}]. attempt as claimed; progress, lines and dropped (lines that were not sent) may be
-- missing. Fenced: returns the ids of jobs that are no longer held by this lease and attempt, whose
-- reports are dropped. Of the lines of a job the last 500 are kept, and at most 256 KiB.
create function {{schema}}.report(p_lease_id bigint, p_reports jsonb) returns setof bigint
language plpgsql security definer {{settings}} as $$
declare
  v_ask record;
  v_number integer;
  v_report _reports;
  v_said bigint[] := '{}';
  v_now timestamptz := clock();
begin
  if jsonb_typeof(p_reports) = 'object' then
    p_reports := jsonb_build_array(p_reports);
  end if;
  if jsonb_typeof(p_reports) is distinct from 'array' or exists (
    select from jsonb_array_elements(p_reports) e
    where (e ->> 'id' ~ '^[0-9]{1,18}$' and e ->> 'attempt' ~ '^[0-9]{1,9}$'
      and coalesce(e ->> 'dropped', '0') ~ '^[0-9]{1,9}$'
      and coalesce(jsonb_typeof(e -> 'lines'), 'array') = 'array') is not true
      or pg_column_size(e -> 'progress') > 16384 or _is_too_long(e -> 'progress', 65536)
      or _is_too_deep(e -> 'progress')
  ) then
    raise exception 'reports must be an array of objects with the id and attempt of a job'
      using errcode = 'HW184', hint = 'for example [{"id": 1, "attempt": 1, "progress": 50}]; '
        'progress has at most 16384 bytes and 500 levels';
  end if;
  for v_ask in
    select (e ->> 'id')::bigint as id, (e ->> 'attempt')::integer as attempt, e -> 'progress' as progress,
      coalesce(e -> 'lines', '[]') as lines, coalesce((e ->> 'dropped')::integer, 0) as dropped
    from jsonb_array_elements(p_reports) e order by 1
  loop
    select j.attempt - j.uncounted into v_number from _jobs j
    where j.id = v_ask.id and j.lease_id = p_lease_id and j.attempt = v_ask.attempt;
    if not found then
      return next v_ask.id;
      continue;
    end if;
    insert into _reports as r (job_id, attempt, progress, progress_at, lines, reported_at)
    values (v_ask.id, v_ask.attempt, v_ask.progress, case when v_ask.progress is not null then v_now end,
      jsonb_array_length(v_ask.lines) + v_ask.dropped, v_now)
    on conflict (job_id) do update set attempt = excluded.attempt,
      progress = coalesce(excluded.progress, r.progress),
      progress_at = coalesce(excluded.progress_at, r.progress_at),
      lines = r.lines + excluded.lines, reported_at = excluded.reported_at
    where r.attempt <= excluded.attempt  -- another worker has it since
    returning * into v_report;
    continue when not found;
    v_said := v_said || v_ask.id;
    if v_ask.lines <> '[]' then
      perform _add_lines(v_report, v_ask.lines, v_number);
    end if;
  end loop;
  if v_said <> '{}' and exists (select from _watchers) then
    perform _tell_watchers(v_said, true);
  end if;
end $$;

-- Appends the last lines of this report, and drops the oldest beyond the bounds.
create function {{schema}}._add_lines(p_report {{schema}}._reports, p_lines jsonb, p_attempt integer)
returns void
language plpgsql security definer {{settings}} as $$
declare
  v_first integer := p_report.lines - jsonb_array_length(p_lines);
  v_bytes integer;
begin
  with added as (
    insert into _report_lines (job_id, n, at, attempt, level, message, fields)
    select p_report.job_id, v_first + l.n,
      p_report.reported_at - case when jsonb_typeof(l.e -> 'ago_ms') = 'number'
        then round(least(greatest((l.e -> 'ago_ms')::numeric, 0), 600000))::float8 else 0 end
        * interval '1 millisecond',
      p_attempt, coalesce(left(l.e ->> 'level', 20), 'info'), coalesce(left(l.e ->> 'message', 4096), ''),
      case when pg_column_size(l.e -> 'fields') <= 16384 and not _is_too_long(l.e -> 'fields', 65536)
        and not _is_too_deep(l.e -> 'fields') then nullif(l.e -> 'fields', 'null') end
    from jsonb_array_elements(p_lines) with ordinality l (e, n)
    where l.n > jsonb_array_length(p_lines) - 500
    returning octet_length(message) + coalesce(octet_length(fields::text), 0) as bytes
  )
  select sum(bytes) into v_bytes from added;
  v_bytes := p_report.line_bytes + v_bytes;
  if v_bytes > 262144 or p_report.lines > 500 then
    with sized as (
      select n, octet_length(message) + coalesce(octet_length(fields::text), 0) as bytes
      from _report_lines where job_id = p_report.job_id
    ), summed as (
      select n, bytes, sum(bytes) over (order by n desc) as sum from sized
    ), gone as (
      delete from _report_lines l where l.job_id = p_report.job_id
        and l.n <= greatest(p_report.lines - 500,
          (select max(s.n) from summed s where s.sum > 262144 and s.n < p_report.lines))
    )
    select coalesce(sum(bytes), 0) into v_bytes from summed
    where sum <= 262144 and n > p_report.lines - 500;
  end if;
  update _reports set line_bytes = v_bytes where job_id = p_report.job_id;
end $$;

-- What jobs said is kept as long as anything is kept in the history after they have ended, or a little longer. A
-- report is looked at once in that time: where its job has ended meanwhile, once more, and then it goes. So those of
-- jobs that wait or are dead for long are not walked over by each call.
create function {{schema}}.prune_reports(p_limit integer default 10000) returns integer
language plpgsql security definer {{settings}} as $$
declare
  v_old record;
begin
  select array_agg(o.job_id) filter (where o.is_over and not o.is_there) as gone,
    array_agg(o.job_id) filter (where o.is_there) as there,
    array_agg(o.job_id) filter (where not o.is_over and not o.is_there) as over
  into v_old from (
    select r.job_id, r.is_over, exists (select from _jobs j where j.id = r.job_id) as is_there from _reports r
    where r.looked_at < (select clock())
      - (select max(retention_ms) * interval '1 millisecond' + interval '1 day' from _queues where deleted_at is null)
    order by r.looked_at limit least(greatest(p_limit, 0), 100000) for update of r skip locked) o;
  update _reports set looked_at = clock(), is_over = false where job_id = any (v_old.there);
  update _reports set looked_at = clock(), is_over = true where job_id = any (v_old.over);
  delete from _report_lines where job_id = any (v_old.gone);
  delete from _reports where job_id = any (v_old.gone);
  return coalesce(cardinality(v_old.gone), 0);
end $$;

create view {{schema}}.job_progress as
select r.job_id as id, r.progress, r.progress_at, r.lines as log_lines, r.reported_at
from {{schema}}._reports r;

create view {{schema}}.job_logs as
select l.job_id as id, l.n, l.at, l.attempt, l.level, l.message, l.fields from {{schema}}._report_lines l;

-- Down Migration

drop view {{schema}}.job_logs;
drop view {{schema}}.job_progress;
drop function {{schema}}.prune_reports(integer);
drop function {{schema}}._add_lines({{schema}}._reports, jsonb, integer);
drop function {{schema}}.report(bigint, jsonb);
drop function {{schema}}.watch(bigint, bigint[], bigint[], bigint[], bigint[]);
drop table {{schema}}._report_lines;
drop table {{schema}}._reports;
