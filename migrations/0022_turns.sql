-- Turns of several members. A strict group (group_concurrency 1) of short jobs would spend its time on
-- round trips: so a claim may take, with the head of a group, the members next in line. They are its
-- followers: held by the same lease, counted as admitted, run one after another, each after the one
-- before it is settled. So the order is as strict as without them, through the death of the worker too.
--   complete, cancel, expire, dead-letter   the next follower runs
--   fail, snooze                            the member is scheduled or ready: it is the head now; those
--                                           behind it are released
--   release                                 a follower waits again, at the place it had
-- A turn is bounded by p_turn, and ends at a member that is not due, of another priority, or large.
-- Queues with limits or a rate per key have no followers.

-- Up Migration

-- For claim_many(), after it has locked the jobs at p_ctids: takes followers of the heads among them. At
-- most 1000, and 8 MB of payloads (1 MB a group). Waits for nobody: a group whose row a producer holds
-- has none. Its lists begin with a comma; null: none. A follower has the seq and lane of its head, so
-- that it lies within the marks of the lease.
create function {{schema}}._take_followers(
  p_queue {{schema}}._queues, p_lease_id bigint, p_ctids tid[], p_turn integer, p_now timestamptz,
  out ids text, out enqueued text, out payloads text, out rest jsonb
)
language plpgsql security definer {{settings}} as $$
declare
  v_head record;
  v_group _groups;
  v_taken record;
  v_left integer := 1000;
  v_room bigint := 8388608;
begin
  if p_queue.group_concurrency > 1 or p_queue.is_limited or p_queue.group_rate_max is not null then
    return;
  end if;
  for v_head in
    select j.group_key, j.seq, j.lane from _jobs j
    -- what has killed a worker runs alone
    where j.ctid = any (p_ctids) and j.group_key is not null and j.dead_at is null and j.crashes = 0
    order by j.group_key
  loop
    exit when v_left < 1 or v_room < 1;
    select * into v_group from _groups g
    where g.queue_id = p_queue.id and g.key = v_head.group_key and g.admitted = 1 and g.waiting > 0
    for update skip locked;
    continue when not found;
    with seen as materialized (
      select j.ctid, j.id, j.group_seq from _jobs j
      where j.queue_id = v_group.queue_id and j.group_key = v_group.key
        and j.group_seq > v_group.mark
      order by j.group_seq limit least(p_turn - 1, v_left)
    ), locked as materialized (
      select j.ctid, j.* from _jobs j
      where j.ctid = any (array(select s.ctid from seen s)) for update skip locked
    ), taken as materialized (
      select * from (
        select l.*, sum(octet_length(l.payload::text)) over w as size,
          bool_and(l.id is not null and coalesce(l.run_at <= p_now, true) and l.after_id is null
            and l.crashes = 0 and l.lane | 1 = v_head.lane | 1) over w as is_next
        from seen s left join locked l on l.id = s.id
        window w as (order by s.group_seq)
      ) t
      where t.is_next and t.size <= 1048576
    ), changed as (
      update _jobs j set lease_id = p_lease_id, attempt = j.attempt + 1, claimed_at = p_now,
        seq = v_head.seq, lane = v_head.lane, follow_seq = j.group_seq, group_seq = null
      where j.ctid = any (array(select t.ctid from taken t))
    )
    select count(*)::integer as count, max(t.group_seq) as mark, max(t.size) as size,
      sum(t.bytes) as bytes, ',' || string_agg(t.id::text, ',' order by t.group_seq) as ids,
      ',' || string_agg(floor(date_part('epoch', t.enqueued_at) * 1000)::bigint::text, ','
        order by t.group_seq) as enqueued,
      ',' || string_agg(t.payload::text, ',' order by t.group_seq) as payloads,
      jsonb_object_agg(t.id, jsonb_build_array(v_head.seq, t.attempt + 1, t.uncounted,
        coalesce(t.expires_at < p_now, false), t.max_attempts, t.headers, t.errors, t.group_key, true))
        filter (where t.id is not null) as rest
    into v_taken from taken t;
    continue when v_taken.count = 0;
    update _groups g set admitted = g.admitted + v_taken.count, waiting = g.waiting - v_taken.count,
      mark = v_taken.mark
    where g.queue_id = v_group.queue_id and g.key = v_group.key;
    insert into _counter_deltas (queue_id, blocked, running, bytes)
    values (p_queue.id, -v_taken.count, v_taken.count,
      coalesce(-v_taken.bytes, case when p_queue.is_guarded then 0 end));
    v_left := v_left - v_taken.count;
    v_room := v_room - v_taken.size;
    ids := concat(ids, v_taken.ids);
    enqueued := concat(enqueued, v_taken.enqueued);
    payloads := concat(payloads, v_taken.payloads);
    rest := coalesce(rest, '{}') || v_taken.rest;
  end loop;
end $$;

-- Whether a follower stands behind another member that its lease still holds: it has not begun then.
create function {{schema}}._is_behind(p_job {{schema}}._jobs) returns boolean
language sql stable security definer {{settings}} as $$
  select exists (
    select from _jobs j
    where j.queue_id = p_job.queue_id and j.lane = p_job.lane and j.seq = p_job.seq
      and j.lease_id = p_job.lease_id and j.group_key = p_job.group_key
      and coalesce(j.follow_seq, 0) < p_job.follow_seq)
$$;

-- As complete_many(), for one member behind which its lease holds a follower that begins when this has
-- returned: one statement, and the commit does not wait for the disk, for the turn's last settle does.
-- The order outlives the death of a worker by that; should the server itself crash, members of this turn
-- may run again, in order. False: stale.
create function {{schema}}.complete_led(
  p_lease_id bigint, p_id bigint, p_attempt integer, p_result jsonb default null
) returns boolean
language plpgsql security definer {{settings}} as $$
declare
  v_left record;
begin
  perform set_config('synchronous_commit', 'off', true);
  with done as (
    delete from _jobs j where j.id = p_id and j.lease_id = p_lease_id and j.attempt = p_attempt
    returning j.*
  ), kept as (
    insert into _history (id, finished_at, enqueued_at, claimed_at, queue_id, attempt, lane, state,
      worker, payload, headers, errors, result, group_key, batch_id)
    select d.id, clock(), d.enqueued_at, d.claimed_at, d.queue_id, d.attempt - d.uncounted, d.lane,
      'completed', (select l.worker from _leases l where l.id = p_lease_id), d.payload, d.headers,
      d.errors, p_result, d.group_key, d.batch_id
    from done d join _queues q on q.id = d.queue_id where q.retention_ms > 0
  ), counted as (
    insert into _counter_deltas (queue_id, running, completed) select d.queue_id, -1, 1 from done d
  ), held as (
    -- not where a producer's transaction has it: then it is noted for who has it next
    select g.queue_id, g.key from done d join _groups g on g.queue_id = d.queue_id and g.key = d.group_key
    for update of g skip locked
  ), booked as (
    update _groups g set admitted = g.admitted - 1 from held h
    where g.queue_id = h.queue_id and g.key = h.key
    returning g.admitted, g.waiting
  ), left_behind as (
    insert into _group_changes (queue_id, key, admitted, waiting)
    select d.queue_id, d.group_key, -1, 0 from done d
    where d.group_key is not null and not exists (select from held)
  )
  select d.queue_id, d.group_key, b.admitted, b.waiting, q.group_concurrency as max, d.batch_id,
    exists (select from _watchers) as is_awaited,
    b.admitted is not null and exists (select from _group_changes c
      where c.queue_id = d.queue_id and c.key = d.group_key) as is_behind
  into v_left
  from done d join _queues q on q.id = d.queue_id left join booked b on true;
  if not found then
    return false;
  end if;
  if v_left.batch_id is not null then
    perform _note_ended(v_left.batch_id, 1, 0);
  end if;
  if v_left.is_awaited then
    perform _tell_watchers(array[p_id]);
  end if;
  if v_left.is_behind or v_left.admitted < (case when v_left.waiting > 0 then v_left.max else 1 end) then
    perform _change_groups(array[
      (v_left.queue_id, v_left.group_key, 0, 0, null, null, null)::_groups]);
  end if;
  return true;
end $$;

-- A follower waits again at the place it had. The caller holds its row and gives what is returned to
-- _change_groups().
create function {{schema}}._return_follower(p_job {{schema}}._jobs) returns {{schema}}._groups
language plpgsql security definer {{settings}} as $$
begin
  update _jobs set lease_id = null, seq = null, group_seq = follow_seq, follow_seq = null,
    lane = lane | 1::smallint, uncounted = p_job.uncounted
  where id = p_job.id;
  insert into _counter_deltas (queue_id, running, blocked, bytes)
  values (p_job.queue_id, -1, 1, _delta_bytes(p_job.queue_id, p_job.bytes));
  return (p_job.queue_id, p_job.group_key, -1, 1, p_job.follow_seq - 1, null, null)::_groups;
end $$;

-- Down Migration

drop function {{schema}}._return_follower({{schema}}._jobs);
drop function {{schema}}.complete_led(bigint, bigint, integer, jsonb);
drop function {{schema}}._is_behind({{schema}}._jobs);
drop function {{schema}}._take_followers(
  {{schema}}._queues, bigint, tid[], integer, timestamptz);
