-- After a restore, a logical switch-over or a truncation: sequences that lie behind their tables, and rows that
-- are there from the beginning and are missed by everything. Found and mended by `howdah migrate` and by each new
-- leader, told by `howdah doctor`.

-- Up Migration

-- After a restore, a logical switch-over or a truncation: sequences that lie behind their tables, and rows that
-- are there from the beginning and are missed by everything. Found and mended by `howdah migrate` and by each new
-- leader, told by `howdah doctor`.



-- Sequences that would draw numbers once more that are in use. Each look is one into an index; that of
-- job_seq is one a partition of the history.
create function {{schema}}.lagging_sequences()
returns table (name text, last bigint, used bigint)
language plpgsql stable security definer {{settings}} as $$
declare
  v_column record;
begin
  name := 'job_seq';
  select case when s.is_called then s.last_value else s.last_value - 1 end into last from job_seq s;
  used := greatest((select max(j.id) from _jobs j), (select max(h.id) from _history h),
    (select max(h.decided) from _seq_horizon h), (select max(f.seq) from _lane_floors f),
    (select max(m.seen_seq) from _lease_marks m));
  if used > last then
    return next;
  end if;
  for v_column in
    select c.relname, a.attname, pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) as sequence
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attidentity <> ''
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' order by 1
  loop
    name := v_column.relname || '.' || v_column.attname;
    execute format('select (select max(%I)::bigint from %I), case when s.is_called then s.last_value
      else s.last_value - 1 end from %s s', v_column.attname, v_column.relname, v_column.sequence)
    into used, last;
    if used > last then
      return next;
    end if;
  end loop;
end $$;

-- What is there from the beginning, and is not.
create function {{schema}}.missing_rows() returns setof text
language sql stable security definer {{settings}} as $$
  select '_leader' where not exists (select from _leader)
  union all
  select '_seq_horizon' where not exists (select from _seq_horizon)
  union all
  select 'queue dead-letters' where not exists (select from _queues where id = 1)
  union all
  select 'limits of ' || q.name from _queues q
  where q.is_limited and not exists (select from _limits l where l.queue_id = q.id)
$$;

-- Mends both; returns what was mended. Sequences go forwards only, and a thousand further than is known. It reads
-- every table, so it must not keep what it has read locked while it waits for the next.
create function {{schema}}.mend() returns text[]
language plpgsql security definer {{settings}} set lock_timeout = '100ms' as $$
declare
  v_mended text[] := array(select 'row: ' || m from missing_rows() m);
  v_lagging record;
begin
  if cardinality(v_mended) > 0 then
    insert into _leader default values on conflict do nothing;
    insert into _seq_horizon default values on conflict do nothing;
    insert into _queues (id, name, dead_letter_queue_id) overriding system value
    values (1, 'dead-letters', 1) on conflict do nothing;
    insert into _limits (queue_id) select q.id from _queues q
    where q.is_limited and not exists (select from _limits l where l.queue_id = q.id) on conflict do nothing;
  end if;
  for v_lagging in select * from lagging_sequences() loop
    perform setval(case when v_lagging.name = 'job_seq' then 'job_seq' else pg_get_serial_sequence(
        quote_ident(split_part(v_lagging.name, '.', 1)), split_part(v_lagging.name, '.', 2)) end::regclass,
      v_lagging.used + 1000);
    v_mended := v_mended || format('sequence: %s from %s to %s', v_lagging.name, v_lagging.last,
      v_lagging.used + 1000);
  end loop;
  return v_mended;
end $$;

-- Down Migration

drop function {{schema}}.mend();
drop function {{schema}}.missing_rows();
drop function {{schema}}.lagging_sequences();
