-- Claim: take ready jobs under a lease, in order of lane and readiness.

-- Up Migration

-- Notes where a lease has been (see lease_marks). Called before the claim's update so that no job is
-- ever held outside its lease's marks.
create function {{schema}}.mark_lease(
  p_lease_id bigint, p_queue_id integer, p_lane smallint, p_after bigint, p_seen bigint
) returns void
language sql security definer {{settings}} as $$
  insert into lease_marks as m (lease_id, queue_id, lane, low_seq, seen_seq, high_seq, marked_at)
  values (p_lease_id, p_queue_id, p_lane, p_after, p_seen, p_seen + 20000, clock())
  on conflict (lease_id, queue_id, lane) do update set
    low_seq = least(m.low_seq, excluded.low_seq),
    seen_seq = greatest(m.seen_seq, excluded.seen_seq),
    high_seq = greatest(m.high_seq, excluded.high_seq),
    marked_at = excluded.marked_at
$$;

-- p_lanes and p_after are the caller's cursors: the highest seq it has claimed in each lane. Without
-- them the claim is right but walks everything finished since the last vacuum. A cursor ahead of the
-- sequence (a failover or a restore set it back) is ignored. Attempts count here, so that a job which
-- kills its worker runs out of them. Rows come in no particular order: sort by lane, seq.
create function {{schema}}.claim(
  p_queue text, p_lease_id bigint, p_limit integer default 1,
  p_lanes smallint[] default '{}', p_after bigint[] default '{}'
) returns table (
  id bigint, lane smallint, seq bigint, attempt integer, uncounted integer, payload jsonb,
  headers jsonb, enqueued_at timestamptz, max_attempts smallint, expired boolean, errors jsonb
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_queue queues;
  v_lane smallint;
  v_after bigint;
  v_last bigint;
  v_left integer := least(greatest(p_limit, 0), 10000);
  v_ctids tid[];
  v_max bigint;
  v_mark lease_marks;
begin
  select * into v_queue from queues where name = p_queue and deleted_at is null;
  if not found then
    perform queue_id_of(p_queue);  -- raises
  end if;
  -- the lock keeps the reaper from burying this lease between here and the commit
  perform 1 from leases where id = p_lease_id for key share;
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'open a new lease';
  end if;
  if v_queue.paused_at is not null then
    return;
  end if;
  select last_value into v_last from job_seq;

  foreach v_lane in array v_queue.lanes loop
    exit when v_left <= 0;
    v_after := coalesce(p_after[array_position(p_lanes, v_lane)], 0);
    if v_after > v_last then
      v_after := 0;
    end if;
    select array_agg(c.ctid), max(c.seq) into v_ctids, v_max from (
      select j.ctid, j.seq from jobs j
      where j.queue_id = v_queue.id and j.lane = v_lane and j.seq is not null
        and j.seq > v_after and j.lease_id is null
      order by j.seq limit v_left for update skip locked
    ) c;

    select * into v_mark from lease_marks m
    where m.lease_id = p_lease_id and m.queue_id = v_queue.id and m.lane = v_lane;
    if v_max > coalesce(v_mark.high_seq, -1) or v_after < v_mark.low_seq
      or (greatest(v_max, v_after) > coalesce(v_mark.seen_seq, 0)
        and coalesce(v_mark.marked_at, '-infinity') < clock() - interval '1 second') then
      perform mark_lease(p_lease_id, v_queue.id, v_lane, v_after, greatest(v_max, v_after));
    end if;

    if v_ctids is not null then
      v_left := v_left - cardinality(v_ctids);
      insert into counter_deltas (queue_id, ready, running)
      values (v_queue.id, -cardinality(v_ctids), cardinality(v_ctids));
      return query
        update jobs j set lease_id = p_lease_id, attempt = j.attempt + 1, claimed_at = clock()
        where j.ctid = any (v_ctids)
        returning j.id, j.lane, j.seq, j.attempt, j.uncounted, j.payload, j.headers,
          j.enqueued_at, coalesce(j.max_attempts, v_queue.max_attempts),
          coalesce(j.expires_at < clock(), false), j.errors;
    end if;
  end loop;
end $$;

-- Down Migration

drop function {{schema}}.claim(text, bigint, integer, smallint[], bigint[]);
drop function {{schema}}.mark_lease(bigint, integer, smallint, bigint, bigint);
