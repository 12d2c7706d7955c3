import type { Cluster } from './cluster.js';
import type { Fleet } from './fleet.js';

const LINES_SHOWN = 12;
const LOOKS = {
  'what is left':
    'select queue, state, count(*)::int from howdah.job_states group by 1, 2 order by 1, 2',
  'some of it': `select id, queue_id, attempt, uncounted, crashes, lane, seq, lease_id, group_key, run_at
    from howdah._jobs where dead_at is null order by id limit 5`,
  'who leads': 'select *, clock_timestamp() as now from howdah._leader',
  cursors: `select m.* from howdah._lease_marks m limit 30`,
  leases: 'select id, worker, expires_at from howdah._leases order by id',
  'sessions that are busy or wait': `select pid, application_name, state, wait_event_type, wait_event,
      now() - xact_start as open_for, pg_blocking_pids(pid) as blocked_by, left(query, 100) as query
    from pg_stat_activity where backend_type = 'client backend' and state <> 'idle'`,
  connections: 'select application_name, count(*)::int from pg_stat_activity group by 1 order by 1',
};

/** What is to be seen when jobs are left that nobody moves. */
export async function autopsy(
  cluster: Cluster,
  fleet: Fleet,
  log: (line: string) => void,
): Promise<void> {
  for (const [what, text] of Object.entries(LOOKS)) {
    const found = await cluster.pool.query(text).catch((error) => ({ rows: [String(error)] }));
    log(`  ${what}:`);
    for (const row of found.rows) log(`    ${JSON.stringify(row)}`);
  }
  for (const member of fleet.members) {
    const lines = fleet
      .linesOf(member)
      .filter(({ type }) => !type.startsWith('job.') && type !== 'run')
      .slice(-LINES_SHOWN);
    log(`  ${member.name} said last:`);
    for (const { type, code, at, duty, reason } of lines) {
      log(
        `    ${new Date(at ?? 0).toISOString()} ${type} ${code ?? duty ?? ''} ${reason ? JSON.stringify(reason) : ''}`,
      );
    }
  }
}
