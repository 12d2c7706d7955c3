-- Admission: which of the jobs that enqueue() was given are inserted. Dedupe keys, bounded queues and
-- queues that are closed to new jobs. Jobs of none of these never come here.

-- Up Migration

-- Decides about the jobs that enqueue() has marked with the problem 'gate'; p_ids are the ids it has
-- drawn for them. jobs, ids, after_ids: what is to be inserted. The other arrays answer job by job. left_groups,
-- held: for _change_groups(), the first without waiting. What is refused leaves nothing behind.
-- Lock order: as _lock_keys() says; then nothing is waited for.
create function {{schema}}._pass_gate(
  p_jobs jsonb, p_ids bigint[], p_problems text[], p_now timestamptz, p_on_error text,
  p_ring boolean, out jobs jsonb, out ids bigint[], out after_ids bigint[], out answer_ids bigint[],
  out created boolean[], out problems text[], out same boolean[], out details jsonb[],
  out left_groups {{schema}}._groups[], out held {{schema}}._groups[]
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_variable
declare
  v_row record;
  v_out jsonb[] := '{}';
  v_count integer := 0;   -- of v_out
  v_locked record := _lock_keys(p_jobs, p_ids, p_problems, p_now);
  v_queue_id integer;
  v_depth bigint;         -- what waits in the queue, once this statement is done
  v_bytes bigint;
  v_deltas integer;
  v_freed record;
  v_may_drop integer := 10000;  -- by this statement
  v_mode text;
  v_size bigint;
  v_old_size bigint;
  v_over bigint;
  v_over_bytes bigint;
  v_digest bytea;
  v_run_at timestamptz;
  v_is_new boolean;       -- the key has been taken for this job
  v_old _dedupes;
  v_job _jobs;
  v_text record;
begin
  ids := '{}';
  after_ids := '{}';
  answer_ids := p_ids;
  problems := array_replace(p_problems, 'gate', 'HW001');
  created := array(select p is null from unnest(p_problems) with ordinality u (p, n) order by n);
  same := array_fill(null::boolean, array[cardinality(p_ids)]);
  details := array_fill(null::jsonb, array[cardinality(p_ids)]);
  left_groups := '{}';
  held := v_locked.held;
  for v_row in
    select e.n::integer as n, e.j, q.id as queue_id, q.max_depth, q.max_bytes, q.closed_at,
      q.closed_reason, q.delay_ms, e.j #>> '{dedupe,key}' as key,
      q.max_depth is not null or q.max_bytes is not null as is_bounded
    from jsonb_array_elements(p_jobs) with ordinality e (j, n)
    join _queues q on q.name = e.j ->> 'queue' and q.deleted_at is null
    where p_problems[e.n] = 'gate'
    order by q.id, e.j #>> '{dedupe,key}' collate "C" nulls first, e.n
  loop
    if v_row.queue_id is distinct from v_queue_id then
      v_queue_id := v_row.queue_id;
      if v_row.is_bounded then
        select w.depth, w.bytes, w.deltas into v_depth, v_bytes, v_deltas
        from _waiting_in(v_queue_id) w;
        if v_deltas > 500 and v_depth < v_row.max_depth is not false then
          perform _fold_deltas(v_queue_id);
        end if;
      end if;
    end if;
    problems[v_row.n] := null;
    v_size := octet_length((v_row.j -> 'payload')::text);
    v_old := null;
    v_is_new := false;

    <<decide>>
    begin
      if v_row.closed_at is not null then
        problems[v_row.n] := 'HW041';
        details[v_row.n] := jsonb_strip_nulls(jsonb_build_object('reason', v_row.closed_reason,
          'closed_at', v_row.closed_at));
        exit decide;
      end if;
      if v_row.key is not null then
        v_mode := coalesce(v_row.j #>> '{dedupe,mode}', 'skip');
        v_digest := sha256(convert_to((v_row.j -> 'payload')::text, 'UTF8'));
        v_run_at := _run_at_of(v_row.j, v_row.delay_ms, p_now);
        select * into v_old from _dedupes d
        where d.queue_id = v_queue_id and d.key = v_row.key and d.expires_at > p_now;
        v_is_new := v_old.job_id = p_ids[v_row.n] is true;
        if v_is_new then
          v_old := null;
        end if;
        v_job := null;
        if v_old.job_id is not null and v_mode <> 'skip' then
          select * into v_job from _jobs j where j.id = v_old.job_id
            and v_old.job_id = v_locked.mine[width_bucket(v_old.job_id, v_locked.mine)];
        end if;
        if v_old.job_id is not null
          -- inserted by this very statement: keys come together, so it is the last one
          and (v_mode = 'skip' or v_job.id is not null or v_old.job_id = ids[v_count]) then
          answer_ids[v_row.n] := v_old.job_id;
          created[v_row.n] := false;
          -- the digest is of what was enqueued; a job that is there may have been edited since
          same[v_row.n] := coalesce(case when v_job.id is not null then v_job.payload::text
            else (select j.payload::text from _jobs j where j.id = v_old.job_id) end
            = (v_row.j -> 'payload')::text, v_old.digest = v_digest);
          exit decide when v_mode = 'skip' or (v_mode <> 'replace' and same[v_row.n]
            and case when v_job.id is not null then v_job.headers else nullif(v_out[v_count] -> 'headers', 'null') end
              is not distinct from nullif(v_row.j -> 'headers', 'null'));
          v_old_size := case when v_job.id is not null then v_job.bytes
            else octet_length((v_out[v_count] -> 'payload')::text) end;
          if v_size > v_old_size and v_bytes + v_size - v_old_size > v_row.max_bytes then
            problems[v_row.n] := 'HW040';
            exit decide;
          end if;
          v_bytes := v_bytes + coalesce(v_size - v_old_size, 0);
          if v_job.id is null then
            v_out[v_count] := case when v_mode = 'replace' then v_row.j
              else (v_row.j - '{delay_ms,run_at}'::text[]) || (
                select coalesce(jsonb_object_agg(k, v), '{}') from jsonb_each(v_out[v_count]) f (k, v)
                where k in ('delay_ms', 'run_at')) end;
          else
            perform _supersede(v_job, v_row.j, case when v_mode = 'replace' then v_run_at end, p_now,
              p_ring);
          end if;
          update _dedupes set digest = v_digest,
            expires_at = case when v_mode = 'throttle' then expires_at
              else greatest(expires_at, _key_until(v_row.j, v_row.delay_ms, p_now)) end
          where queue_id = v_queue_id and key = v_row.key;
          exit decide;
        end if;
      end if;

      -- a new job: is there room, or can there be?
      if v_row.is_bounded then
        v_over := greatest(v_depth + 1 - v_row.max_depth, 0);
        v_over_bytes := greatest(v_bytes + v_size - v_row.max_bytes, 0);
        if (v_over > 0 or v_over_bytes > 0) and v_row.j ->> 'on_full' = 'drop_oldest'
          and v_size <= v_row.max_bytes is not false then
          v_freed := _drop_oldest(v_queue_id, v_over, v_over_bytes, v_may_drop, p_ring);
          left_groups := left_groups || v_freed.left_groups;
          v_may_drop := v_may_drop - v_freed.dropped;
          v_depth := v_depth - v_freed.dropped;
          v_bytes := v_bytes - v_freed.bytes;
          v_over := v_over - v_freed.dropped;
          v_over_bytes := v_over_bytes - v_freed.bytes;
        end if;
        if v_over > 0 or v_over_bytes > 0 then
          problems[v_row.n] := 'HW040';
          exit decide;
        end if;
        v_depth := v_depth + 1;
        v_bytes := v_bytes + v_size;
      end if;

      if v_row.key is not null and not v_is_new then
        insert into _dedupes as d (queue_id, key, job_id, digest, expires_at)
        values (v_queue_id, v_row.key, p_ids[v_row.n], v_digest,
          _key_until(v_row.j, v_row.delay_ms, p_now))
        on conflict (queue_id, key) do update set job_id = excluded.job_id,
          digest = excluded.digest, expires_at = excluded.expires_at
        where d.expires_at <= p_now or d.job_id = v_old.job_id;
        if not found then
          raise exception 'the dedupe key of job % changes hands too often', v_row.n
            using errcode = '40001', hint = 'try again';
        end if;
      end if;
      v_count := v_count + 1;
      v_out[v_count] := v_row.j;
      ids[v_count] := p_ids[v_row.n];
      after_ids[v_count] := null;
      created[v_row.n] := true;
      if v_row.key is not null and (v_mode = 'latest' or v_old.job_id = v_locked.spared[width_bucket(v_old.job_id, v_locked.spared)])
        and _is_pending(v_old.job_id) then
        -- scheduled, so that promote() lets it go when the job before it is over
        after_ids[v_count] := v_old.job_id;
        v_out[v_count] := case when v_run_at > p_now + interval '50 milliseconds' then v_row.j
          else (v_row.j - 'run_at') || '{"delay_ms": 50}' end;
      end if;
    end decide;

    if problems[v_row.n] is not null then
      answer_ids[v_row.n] := null;
      created[v_row.n] := false;
      same[v_row.n] := null;
      if problems[v_row.n] = 'HW040' then
        details[v_row.n] := _full_details(v_queue_id, v_depth, v_bytes, v_size,
          v_row.max_depth, v_row.max_bytes);
      end if;
      if p_on_error is distinct from 'report' then
        v_text := _describe_problem(problems[v_row.n], v_row.j, details[v_row.n]);
        raise exception '%', v_text.message || case when cardinality(p_ids) > 1
          then format(' (job %s of %s)', v_row.n, cardinality(p_ids)) else '' end
          using errcode = problems[v_row.n], hint = v_text.hint, detail = details[v_row.n]::text;
      end if;
      if v_is_new then
        delete from _dedupes d where d.queue_id = v_queue_id and d.key = v_row.key;
      end if;
    end if;
  end loop;
  jobs := to_jsonb(v_out);
end $$;

-- Down Migration

drop function {{schema}}._pass_gate(jsonb, bigint[], text[], timestamptz, text, boolean);
