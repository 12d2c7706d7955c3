/** What is counted apart from the rows it counts, against those rows. Each query gives what differs: nothing. */
export const BOOKS: Readonly<Record<string, string>> = {
  'groups that differ from their members': 'select * from howdah.check_groups()',

  'counters that differ from the rows': `
    with truth as (
      select queue_id, count(*) filter (where seq is not null and lease_id is null) as ready,
        count(*) filter (where seq is null and group_seq is null) as scheduled,
        count(group_seq) as blocked,
        count(*) filter (where lease_id is not null) as running, count(dead_at) as dead,
        sum(bytes) filter (where lease_id is null) as bytes
      from howdah._jobs group by queue_id
    ), counted as (
      select queue_id, sum(ready) as ready, sum(scheduled) as scheduled, sum(running) as running,
        sum(dead) as dead, sum(blocked) as blocked, sum(bytes) as bytes
      from (
        select queue_id, ready, scheduled, running, dead, blocked, bytes from howdah._counters
        union all select queue_id, ready, scheduled, running, dead, blocked, bytes from howdah._counter_deltas
      ) c group by queue_id
    )
    select queue_id, to_json(t) as rows, to_json(c) as counters
    from truth t full join counted c using (queue_id)
    where (coalesce(t.ready, 0), coalesce(t.scheduled, 0), coalesce(t.running, 0), coalesce(t.dead, 0),
        coalesce(t.blocked, 0), coalesce(t.bytes, 0))
      is distinct from
      (coalesce(c.ready, 0), coalesce(c.scheduled, 0), coalesce(c.running, 0), coalesce(c.dead, 0),
        coalesce(c.blocked, 0), coalesce(c.bytes, 0))`,

  'bounded queues whose depth, as enqueue() sees it, differs from what waits': `
    select q.name, w.depth, w.bytes, t.depth as rows, t.bytes as rows_bytes
    from howdah._queues q cross join lateral howdah._waiting_in(q.id) w
    cross join lateral (
      select count(*) as depth, coalesce(sum(j.bytes), 0) as bytes
      from howdah._jobs j where j.queue_id = q.id and j.lease_id is null
    ) t
    where coalesce(q.max_depth, q.max_bytes) is not null and (w.depth, w.bytes) <> (t.depth, t.bytes)`,

  'bytes that differ from the payload': `
    select id, bytes from howdah._jobs where bytes <> octet_length(payload::text)`,

  'running jobs that no lease covers': `
    select j.id from howdah._jobs j where j.lease_id is not null and not exists (
      select from howdah._leases l join howdah._lease_marks m on m.lease_id = l.id
      where l.id = j.lease_id and m.queue_id = j.queue_id and m.lane = j.lane
        and j.seq between m.low_seq and m.high_seq)`,

  'leases of receive() that count other jobs than they hold': `
    select l.id, l.held, count(j.id) from howdah._leases l left join howdah._jobs j on j.lease_id = l.id
    where l.held is not null group by l.id having l.held <> count(j.id)`,

  'jobs that are there twice': `
    select id from (select id from howdah._jobs union all select id from howdah._history) x
    group by id having count(*) > 1`,

  'limits that differ from the permits of what runs': `
    with held as (select queue_id, sum(permit) as permits from howdah._jobs group by queue_id),
    counted as (
      select queue_id, sum(running) as permits from (
        select queue_id, running from howdah._limits
        union all select queue_id, -permits from howdah._limit_deltas
      ) c group by queue_id
    )
    select queue_id, h.permits as held, c.permits as counted
    from held h full join counted c using (queue_id)
    where coalesce(h.permits, 0) <> coalesce(c.permits, 0)`,

  'waiting jobs that hold a permit': `
    select id from howdah._jobs where permit is not null and lease_id is null`,

  'batches that differ from their jobs': `
    with pending as (
      select batch_id, count(*) as jobs from howdah._jobs
      where batch_id is not null and dead_at is null group by batch_id
    )
    select id, jobs, pending from pending p full join howdah.batches b on b.id = p.batch_id
    where coalesce(jobs, 0) <> coalesce(pending, 0)
      or (coalesce(jobs, 0) > 0 and state in ('completed', 'failed'))`,

  'dedupe keys of a job that never was': `
    select d.key, d.job_id from howdah._dedupes d
    join howdah._queues q on q.id = d.queue_id and q.retention_ms > 0
    where d.job_id > (select last_value from howdah.job_seq) or d.expires_at = '-infinity'`,
};
