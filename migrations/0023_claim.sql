-- Claim: take ready jobs under a lease, in order of lane and readiness.
--
-- Suspects: jobs whose worker died while it held them. Which of them killed it nobody knows, so they go
-- to lanes of their own, which are served first, and never beside other jobs: after the first crash a few
-- suspects together, then each alone. Whatever ends an attempt in order clears it. A job is buried for its
-- crashes only when it was alone at the last one, so never for what its neighbours did.
--
-- Lanes of suspects are below 0: the lane at the head of their priority less 1000 in company, less 2000
-- alone. A queue of which no worker ever died has none, and its claims do not look for any.

-- Up Migration

-- What was picked is too large for one answer, unless it is a single job.
create function {{schema}}._refuse_claim(p_queue text, p_jobs integer) returns void
language plpgsql as $$
begin
  if p_jobs > 1 then
    raise exception 'the payloads of % jobs of queue % have more than 64 MiB', p_jobs,
      quote_literal(p_queue) using errcode = '54000', hint = 'claim fewer at once';
  end if;
end $$;

-- The hot path: one row a lane that had jobs, and in it every job at its place in comma-separated lists,
-- because a row and its columns cost more than the job. `enqueued` is in epoch milliseconds; `payloads`
-- lacks the brackets of a JSON array; `rest` is for jobs out of the ordinary, by id: [seq (else seq is
-- the id), attempt (else 1), uncounted, expired, max_attempts (null: as the queue says), headers, errors,
-- group key, true for a follower].
-- p_lanes and p_after are the caller's cursors: the highest seq it has claimed in each lane. Without
-- them the claim is right but walks everything finished since the last vacuum, or above the lane's floor. A
-- cursor ahead of the sequence (a failover or a restore set it back) is ignored. Lanes in which something is ready
-- are found by leaps over the claim index (see _next_lane()), so a lane that was used once costs nothing. Attempts count here, so that a job which
-- kills its worker runs out of them.
-- Suspects (see 0023_claim.sql) come first, in a lane below 0, a few at most and nothing beside them: who
-- claims them should run nothing else meanwhile.
-- A queue with limits, or paused until a time, brings one row more, without a lane: `rest` is then
-- {"reason", "again_ms"}: when to come again (null: as usual), and what there was no more room for. So does a claim
-- of which the payloads, headers and errors have more than 64 MiB as text: it takes what fits, and again_ms is 0.
-- p_turn: with the head of a group come up to p_turn - 1 of its next members, beyond p_limit and at the
-- end of the lists; whoever asks for them runs them one after another (see 0022_turns.sql).
-- p_payloads: 'together' as said; 'apart' where they are large: `payloads` is null then, and each stands in a
-- row of its own, which has a lane and nothing else, in the same order after the row of the lane (both sides
-- copy a large text several times, into fresh memory); 'none' for who reads them otherwise.
create function {{schema}}.claim_many(
  p_queue text, p_lease_id bigint, p_limit integer default 1,
  p_lanes smallint[] default '{}', p_after bigint[] default '{}', p_turn integer default 1,
  p_payloads text default 'together'
) returns table (
  lane smallint, ids text, enqueued text, payloads text, rest jsonb, max_attempts smallint
)
language plpgsql security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock();
  v_queue _queues;
  v_lane smallint;
  v_after bigint;
  v_last bigint;
  v_held_until timestamptz;
  v_floors smallint[];  -- lanes that have one where the caller's cursors do not decide
  v_only smallint;      -- the only lane of which it is known where to begin
  v_known record;       -- if there are more: lanes and where to begin in them
  v_start bigint := 0;
  v_found smallint;
  v_is_leased boolean;  -- there is such a lease; is_locked: and it is held for this transaction
  v_is_locked boolean := false;
  v_left integer := least(greatest(p_limit, 0), 10000);
  v_limit integer;  -- of v_left in this lane
  v_ctids tid[];
  v_max bigint;  -- how far this claim has looked; v_top: the highest seq among its jobs
  v_top bigint;
  v_mark _lease_marks;
  v_bytes bigint;
  v_room _room;
  v_taken _picked;
  v_behind record;
  v_tail text;  -- payloads of followers
  v_size bigint := 0;   -- of the texts of lanes before; v_text: of this one
  v_text bigint;
  v_stored bigint;      -- what payloads that come apart take in the table
  v_is_cut boolean := false;    -- not all that could be claimed fits
  v_is_moved boolean;   -- the order in which jobs were found is not that of their numbers any more
  v_together boolean := p_payloads = 'together';
begin
  select * into v_queue from _queues where name = p_queue and deleted_at is null;
  if not found then
    perform _queue_id_of(p_queue);  -- raises
  end if;
  if (p_payloads in ('together', 'apart', 'none')) is not true then
    raise exception 'p_payloads % is not valid', coalesce(quote_literal(left(p_payloads, 40)), 'null')
      using errcode = 'HW070', hint = 'use together, apart or none';
  end if;
  if p_lanes is null then
    p_lanes := '{}';
  end if;
  select s.last_value,
    (select max(h.until) from _holds h where h.queue_id = v_queue.id and h.until > v_now),
    array(select f.lane from _lane_floors f
      where f.queue_id = v_queue.id and (f.lane <> all (p_lanes) or f.rewind_seq is not null)),
    exists (select from _leases l where l.id = p_lease_id and l.held is null)
  into v_last, v_held_until, v_floors, v_is_leased from job_seq s;
  if v_queue.is_limited or not v_is_leased then
    perform _lock_lease(p_lease_id);
    v_is_locked := true;
  end if;
  if v_queue.paused_at is not null and coalesce(v_queue.paused_until > v_now, true) then
    if v_queue.paused_until is not null then
      rest := jsonb_build_object('reason', 'paused', 'again_ms', _ms_until(v_queue.paused_until));
      return next;
    end if;
    return;
  end if;
  if v_held_until is not null then
    rest := jsonb_build_object('reason', 'rate-limited', 'again_ms', _ms_until(v_held_until));
    return next;
    return;
  end if;
  if v_queue.is_limited then
    v_room := _room_of(v_queue, v_left);
    v_left := v_room.jobs;
    v_now := v_room.at;
  end if;
  max_attempts := v_queue.max_attempts;
  if v_floors = '{}' and p_lanes = '{}' then
    v_only := 201;
  elsif v_floors = '{}' and cardinality(p_lanes) = 1 and p_after[1] between 1 and v_last
    and p_lanes[1] < 32767 then
    v_only := p_lanes[1];
    v_start := p_after[1];
  else
    select * into v_known from _lane_starts(v_queue.id, p_lanes, p_after, v_last);
  end if;

  v_lane := -32768;
  while v_left > 0 loop
    if v_only is null then
      select n.lane, n.start into v_lane, v_after
      from _next_lane(v_queue.id, v_known.lanes, v_known.starts, v_lane) n;
      exit when v_lane is null;
    else
      -- as in most queues: looks before it, in it and behind it, as _next_lane() does at thrice the price
      v_after := 0;
      v_found := null;
      if v_lane < v_only then
        select j.lane into v_found from _jobs j
        where j.queue_id = v_queue.id and j.seq is not null and j.lease_id is null
          and j.lane > v_lane and j.lane < v_only
        order by j.lane, j.seq limit 1;
        if v_found is null then
          select j.lane, v_start into v_found, v_after from _jobs j
          where j.queue_id = v_queue.id and j.seq is not null and j.lease_id is null
            and j.lane = v_only and j.seq > v_start
          order by j.seq limit 1;
        end if;
      end if;
      if v_found is null then
        select j.lane, 0 into v_found, v_after from _jobs j
        where j.queue_id = v_queue.id and j.seq is not null and j.lease_id is null
          and j.lane > greatest(v_lane, v_only) and j.lane < 32767
        order by j.lane, j.seq limit 1;
      end if;
      exit when v_found is null;
      v_lane := v_found;
    end if;
    if not v_is_locked then
      perform _lock_lease(p_lease_id);
      v_is_locked := true;
    end if;
    v_limit := case when v_lane < 0 then _claim_limit(v_lane, v_left) else v_left end;
    -- no more than fit into one answer as text, measured where the stored form is so large, or hides so much
    -- (1e131071 has ten bytes), that it may not; one that is too large goes alone
    loop
      if v_queue.is_limited then
        select * into v_taken from _pick_within(v_queue, v_room, v_lane, v_after, v_limit, v_together);
        v_ctids := v_taken.ctids;
        v_max := v_taken.last_seq;
        v_top := v_taken.top_seq;
        ids := v_taken.ids;
        enqueued := v_taken.enqueued;
        payloads := v_taken.payloads;
        rest := v_taken.rest;
        v_bytes := (select sum(j.bytes) from _jobs j
          where j.ctid = any (v_ctids));  -- also of a queue that has no bound any more
        v_stored := (select sum(pg_column_size(j.payload)) from _jobs j
          where not v_together and j.ctid = any (v_ctids));
      else
      -- what is given out is read here, while the rows are locked, so that the update returns nothing
      select a.ctids, a.top, greatest(a.plain, case when a.other_ids is not null then (
        -- of numbers drawn again, those that the rows have had when this statement began: one that was changed
        -- meanwhile comes with its new number, and what lies before that was not looked at
        select u.seq from (
          select x.id, x.seq from unnest(a.other_ids, a.other_seqs) x (id, seq) order by x.seq desc offset 0
        ) u
        where exists (select from _jobs o where o.id = u.id and o.seq = u.seq) limit 1
      ) end),
        a.ids, a.enqueued, a.payloads, a.rest, a.bytes, a.stored
      into v_ctids, v_top, v_max, ids, enqueued, payloads, rest, v_bytes, v_stored
      from (select array_agg(c.ctid) as ctids, max(c.seq) as top,
        max(c.seq) filter (where c.seq = c.id) as plain,
        array_agg(c.id) filter (where c.seq <> c.id) as other_ids,
        array_agg(c.seq) filter (where c.seq <> c.id) as other_seqs,
        string_agg(c.id::text, ',') as ids,
        string_agg(floor(date_part('epoch', c.enqueued_at) * 1000)::bigint::text, ',') as enqueued,
        string_agg(case when v_together then c.payload::text end, ',') as payloads,
        jsonb_object_agg(c.id, jsonb_build_array(c.seq, c.attempt + 1, c.uncounted,
          coalesce(c.expires_at < v_now, false), c.max_attempts, c.headers, c.errors,
          c.group_key))
          filter (where c.seq <> c.id or c.attempt > 0 or c.expires_at < v_now
            or c.max_attempts is not null or c.headers is not null) as rest,
        sum(c.bytes) as bytes,
        sum(case when not v_together then pg_column_size(c.payload) end) as stored
      from (
        select j.ctid, j.id, j.enqueued_at, j.attempt, j.uncounted, j.seq, j.group_key, j.payload,
          j.expires_at, j.max_attempts, j.headers, j.errors, j.bytes
        from _jobs j
        where j.queue_id = v_queue.id and j.lane = v_lane and j.seq is not null
          and j.seq > v_after and j.lease_id is null
        order by j.seq limit v_limit for update skip locked
      ) c) a;
      end if;
      v_text := coalesce(octet_length(payloads), 0);
      if v_stored > 1048576 then
        v_text := (select sum(octet_length(j.payload::text)) from _jobs j where j.ctid = any (v_ctids));
      end if;
      if pg_column_size(rest) > 4096 then
        v_text := v_text + octet_length(rest::text);
      end if;
      exit when v_size + v_text <= 67108864 or v_size = 0 and cardinality(v_ctids) = 1;
      v_is_cut := true;
      if cardinality(v_ctids) = 1 then
        v_ctids := null;
        exit;
      end if;
      v_limit := greatest(1, least(cardinality(v_ctids) - 1,
        (cardinality(v_ctids) * (67108864 - v_size) / v_text)::integer));
    end loop;
    exit when v_ctids is null and v_is_cut;
    v_size := v_size + v_text;
    v_is_moved := v_top > coalesce(v_max, v_after);
    if v_is_moved then
      -- the caller's cursor is the highest number it is told
      rest := (
        select jsonb_object_agg(e.key, case when (e.value ->> 0)::bigint > coalesce(v_max, v_after)
          then jsonb_set(e.value, '{0}', to_jsonb(coalesce(v_max, v_after))) else e.value end)
        from jsonb_each(rest) e);
    end if;

    v_tail := null;
    if p_turn > 1 and rest is not null then
      v_behind := _take_followers(v_queue, p_lease_id, v_ctids, p_turn, v_now);
      if v_behind.ids is not null then
        ids := ids || v_behind.ids;
        enqueued := enqueued || v_behind.enqueued;
        v_tail := v_behind.payloads;
        payloads := payloads || v_tail;
        rest := rest || v_behind.rest;
      end if;
    end if;

    select * into v_mark from _lease_marks m
    where m.lease_id = p_lease_id and m.queue_id = v_queue.id and m.lane = v_lane;
    if v_top > coalesce(v_mark.high_seq, -1) or v_after < v_mark.low_seq
      or (greatest(v_max, v_after) > coalesce(v_mark.seen_seq, 0)
        and (v_mark.marked_at between v_now - interval '1 second' and v_now) is not true) then
      perform _mark_lease(p_lease_id, v_queue.id, v_lane, v_after, greatest(v_max, v_after), v_top);
    end if;

    if v_ctids is not null then
      lane := v_lane;
      return next;
      if p_payloads = 'apart' then
        ids := null; enqueued := null; rest := null; max_attempts := null;
        v_text := 0;
        for payloads in
          select j.payload::text from _jobs j where j.ctid = any (v_ctids)
          order by case when v_is_moved then array_position(v_ctids, j.ctid) end, j.seq
        loop
          v_text := v_text + octet_length(payloads);
          if v_text > 67108864 then
            perform _refuse_claim(p_queue, cardinality(v_ctids));
          end if;
          return next;
        end loop;
        if v_tail is not null then
          payloads := substr(v_tail, 2);
          return next;
        end if;
        max_attempts := v_queue.max_attempts;
      end if;
      v_left := v_left - cardinality(v_ctids);
      insert into _counter_deltas (queue_id, ready, running, bytes)
      values (v_queue.id, -cardinality(v_ctids), cardinality(v_ctids),
        coalesce(-v_bytes, case when v_queue.is_guarded then 0 end));
      if v_queue.is_limited then
        v_room := _charge(v_queue, v_room, v_ctids, p_lease_id);
      else
        update _jobs j set lease_id = p_lease_id, attempt = j.attempt + 1, claimed_at = v_now
        where j.ctid = any (v_ctids);
      end if;
      exit when v_lane < 0;  -- suspects do not run beside others
    end if;
    exit when v_is_cut;
    exit when v_taken.is_cut;  -- a heavy job waits for room: nothing overtakes it
  end loop;
  -- how far the caller had come in lanes where nothing is ready any more, for the sweep
  if v_left > 0 then
    for v_n in 1 .. cardinality(p_lanes) loop
      select * into v_mark from _lease_marks m
      where m.lease_id = p_lease_id and m.queue_id = v_queue.id and m.lane = p_lanes[v_n];
      if p_lanes[v_n] is not null and p_after[v_n] <= v_last and p_after[v_n] > coalesce(v_mark.seen_seq, 0)
        and (v_mark.marked_at between v_now - interval '1 second' and v_now) is not true then
        if not v_is_locked then
          perform _lock_lease(p_lease_id);
          v_is_locked := true;
        end if;
        perform _mark_lease(p_lease_id, v_queue.id, p_lanes[v_n], p_after[v_n], p_after[v_n]);
      end if;
    end loop;
  end if;
  if v_queue.is_limited then
    lane := null; ids := null; enqueued := null; payloads := null;
    rest := _close_room(v_queue, v_room, v_taken.is_cut);
  elsif v_is_cut then
    lane := null; ids := null; enqueued := null; payloads := null;
    rest := '{"reason": null, "again_ms": null}';
  end if;
  if v_is_cut and rest ->> 'reason' is null then
    rest := jsonb_set(rest, '{again_ms}', '0');
  end if;
  if v_queue.is_limited or v_is_cut then
    return next;
  end if;
end $$;

-- Claims for psql and other languages: a row a job, in order of lane and readiness. See claim_many().
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
  v_claim record;
begin
  for v_claim in
    select lane, max_attempts, string_to_array(ids, ',')::bigint[] as ids, rest
    from claim_many(p_queue, p_lease_id, p_limit, p_lanes, p_after, 1, 'none')
  loop
    return query
      select j.id, j.lane, coalesce((v_claim.rest -> j.id::text ->> 0)::bigint, j.seq), j.attempt,
        j.uncounted, j.payload, j.headers, j.enqueued_at,
        coalesce(j.max_attempts, v_claim.max_attempts), coalesce(j.expires_at < j.claimed_at, false),
        j.errors
      from _jobs j where j.id = any (v_claim.ids) order by j.seq;
  end loop;
end $$;

-- Which of these queues a claim should ask: one statement for who idles, however many queues it has. It locks
-- and writes nothing, and counts nothing: of each lane it reads a few rows from the cursor on.
-- p_lanes and p_after are cursors as claim_many() takes them, one queue after the other; those of the queue at
-- place i begin at p_first[i] (from 1) and end where the next ones begin.
-- A row for each queue that has something to say, by its place in p_queues:
--   ready    a claim may find a job; it may find none, where others were quicker or very many run
--   missing  there is no such queue
--   another  why it gives no jobs, and when to come again: see claim_many()
create function {{schema}}.ready_queues(
  p_lease_id bigint, p_queues text[],
  p_first integer[] default '{}', p_lanes smallint[] default '{}', p_after bigint[] default '{}'
) returns table (place integer, state text, again_ms bigint)
language plpgsql stable security definer {{settings}} as $$
#variable_conflict use_column
declare
  v_last bigint;
begin
  perform 1 from _leases where id = p_lease_id;
  if not found then
    raise exception 'lease % has ended', p_lease_id using errcode = 'HW020',
      hint = 'open a new lease';
  end if;
  select last_value into v_last from job_seq;
  return query
    select a.place::integer, s.state, s.again_ms
    from (
      select u.name, u.place, u.first,
        greatest(coalesce(lead(u.first) over (order by u.place), cardinality(p_lanes) + 1), 0) - 1 as last
      from unnest(p_queues, p_first) with ordinality u (name, first, place)
    ) a
    left join _queues q on q.name = a.name and q.deleted_at is null
    left join lateral (
      select max(h.until) as until from _holds h where h.queue_id = q.id and h.until > clock()
    ) w on true
    cross join lateral (
      select 'missing' as state, null::bigint as again_ms where q.id is null
      union all
      select 'paused', _ms_until(q.paused_until)
      where q.paused_at is not null and q.paused_until > clock()
      union all
      select 'rate-limited', _ms_until(w.until)
      where coalesce(q.paused_at is null or q.paused_until <= clock(), false) and w.until is not null
      union all
      select coalesce(h.reason, 'ready'), h.again_ms
      from (
        select case
          when a.first > a.last is not false
            and not exists (select from _lane_floors f where f.queue_id = q.id)
          then exists (
            select from (
              select count(*) filter (where x.lease_id is null) as ready, count(*) as seen
              from (
                select j.lease_id from _jobs j
                where j.queue_id = q.id and j.seq is not null and j.lane < 32767
                order by j.lane, j.seq limit 50
              ) x
            ) f
            where f.ready > 0 or f.seen = 50
          )
          else exists (
            -- what lies between the lanes of which it is known where to begin, and those from there on
            select from (
              select k.lane, k.start, coalesce(lag(k.lane) over (order by k.lane), -32768) as before
              from (
                -- as _lane_starts() says
                select n.lane, greatest(max(n.floor), case when max(n.cursor) > 0
                  then least(max(n.cursor), max(n.rewind)) else 0 end) as start
                from (
                  select f.lane, f.seq as floor, null::bigint as cursor, f.rewind_seq as rewind
                  from _lane_floors f where f.queue_id = q.id and f.seq <= v_last
                  union all
                  select c.lane, null, c.seq, null
                  from unnest(p_lanes[a.first:a.last], p_after[a.first:a.last]) c (lane, seq)
                  where c.lane < 32767 and c.seq <= v_last
                  union all
                  select 32767, 0, null, null
                ) n
                group by n.lane
              ) k
            ) g
            cross join lateral (
              select count(*) filter (where x.lease_id is null) as ready, count(*) as seen
              from (
                select j.lease_id from _jobs j
                where j.queue_id = q.id and j.seq is not null and j.lane > g.before and j.lane < g.lane
                order by j.lane, j.seq limit 50
              ) x
              union all
              select count(*) filter (where x.lease_id is null), count(*)
              from (
                select j.lease_id from _jobs j
                where j.queue_id = q.id and j.seq is not null and j.lane = g.lane and j.lane < 32767
                  and j.seq > g.start
                order by j.seq limit 50
              ) x
            ) f
            where f.ready > 0 or f.seen = 50
          ) end as is_ready
        where coalesce(q.paused_at is null or q.paused_until <= clock(), false) and q.id is not null
          and w.until is null
        offset 0
      ) r
      left join lateral (
        select k.reason, k.again_ms, k.is_stop
        from (select where q.is_limited offset 0) g cross join lateral _hold_of(q) k
      ) h on true
      where r.is_ready or h.is_stop
    ) s;
end $$;

-- How many jobs of a lane one claim may take. Of suspects about the root of what a worker holds: for n jobs
-- in groups of g, n / g groups run and, after another crash, g single jobs.
create function {{schema}}._claim_limit(p_lane smallint, p_limit integer) returns integer
language sql immutable parallel safe as $$
  select case when p_lane >= 0 then p_limit when p_lane < -1000 then least(p_limit, 1)
    else least(p_limit, greatest(p_limit / 4, 1), 32) end
$$;

-- Down Migration

drop function {{schema}}._claim_limit(smallint, integer);
drop function {{schema}}.ready_queues(bigint, text[], integer[], smallint[], bigint[]);
drop function {{schema}}.claim(text, bigint, integer, smallint[], bigint[]);
drop function {{schema}}.claim_many(text, bigint, integer, smallint[], bigint[], integer, text);
drop function {{schema}}._refuse_claim(text, integer);
