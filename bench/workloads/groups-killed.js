import path from 'node:path';
import { monotonicMs, sleep } from '../harness/clock.js';
import { createQueue, fill } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { readStarts } from '../harness/start-log.js';

const PROCESSES = 4;
const JOBS_EACH = 20;
const LEASE_MS = 2000;
/** Processes that are connected already, for one to take the place of who is killed at once. */
const SPARES = 2;
const STALL_MS = 60_000;

export default {
  name: 'groups-killed',
  title: 'FIFO groups of 20 jobs, 4 worker processes of which one is killed again and again',
  settings: { groupConcurrency: 1, processes: PROCESSES, lease: LEASE_MS, killEveryMs: 1000 },
  takes: isHowdah,
  columns: [
    { key: 'groups', label: 'groups' },
    { key: 'jobs', label: 'jobs' },
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'seconds', label: 's', digits: 1 },
    { key: 'kills', label: 'kills' },
    { key: 'hits', label: 'jobs held by the killed' },
    { key: 'restarted', label: 'begun again' },
    { key: 'violations', label: 'order violations' },
    { key: 'lost', label: 'lost' },
    { key: 'repeated', label: 'repeated' },
  ],
  plot: ['jobsPerSecond'],

  async run({ quick, agent, postgres, url, folder }) {
    const groups = quick ? 1000 : 10_000;
    const count = groups * JOBS_EACH;
    const logs = await folder();
    // they would tell of each lease that a killed one has left
    const options = { capacity: count, lease: LEASE_MS, logLevel: 'error' };
    const fleet = new Fleet(agent, options, logs);
    const observer = await agent();
    const forever = { max_attempts: 1000, max_crashes: 1000, backoff_ms: 0, backoff_jitter: 0 };
    await createQueue(postgres, url, forever);
    const session = await postgres.connect(url);
    await fill(session, { count, group: `'g' || n % ${groups}` });
    await postgres.settle(url);
    await fleet.start(PROCESSES);
    const began = monotonicMs();
    const everyMs = quick ? 500 : 1000;
    const { kills, hits } = await killUntilDone(fleet, observer, session, everyMs);
    const seconds = (monotonicMs() - began) / 1000;
    await fleet.stop();
    const account = await judge(session, readStarts(fleet.logs), { groups, count });
    await session.end();
    return {
      groups,
      jobs: count,
      jobsPerSecond: count / seconds,
      seconds,
      kills,
      hits,
      ...account,
    };
  },
};

/** The workers. Who is killed is replaced by a spare one that is connected already. */
class Fleet {
  logs = [];
  #agent;
  #options;
  #folder;
  #workers = [];
  #spares = [];
  #replacing = Promise.resolve();

  constructor(agent, options, folder) {
    this.#agent = agent;
    this.#options = options;
    this.#folder = folder;
  }

  async start(processes) {
    const agents = await Promise.all(Array.from({ length: processes }, () => this.#agent()));
    for (let i = 0; i < SPARES; i++) this.#prepareSpare();
    await Promise.all(agents.map((worker) => this.#work(worker)));
  }

  #prepareSpare() {
    const spare = this.#agent();
    spare.catch(() => undefined); // whoever needs it is told
    this.#spares.push(spare);
  }

  async #work(worker) {
    const log = path.join(this.#folder, `${this.logs.length}.log`);
    this.logs.push(log);
    await worker.call('startWorker', { ...this.#options, log });
    this.#workers.push(worker);
  }

  get size() {
    return this.#workers.length;
  }

  /** SIGKILL for the eldest. Resolves to its process id when it has ended. */
  async killOne() {
    const victim = this.#workers.shift();
    await victim.kill();
    return victim.pid;
  }

  /** In the background, one after the other. */
  replace() {
    this.#replacing = this.#replacing.then(async () => {
      const worker = await this.#spares.shift();
      this.#prepareSpare();
      await this.#work(worker);
    });
    this.#replacing.catch(() => undefined); // stop() tells of it
  }

  async stop() {
    await this.#replacing;
    await Promise.all(
      [...this.#workers, ...(await Promise.all(this.#spares))].map((worker) => worker.stop()),
    );
  }
}

/** A worker is killed at each beat, until no job is left. */
async function killUntilDone(fleet, observer, session, everyMs) {
  let kills = 0;
  let hits = 0;
  let left = Number.POSITIVE_INFINITY;
  let movedAt = monotonicMs();
  let killAt = monotonicMs() + everyMs;
  for (;;) {
    const now = await observer.call('unfinished');
    if (now === 0) return { kills, hits };
    if (now < left) [left, movedAt] = [now, monotonicMs()];
    if (monotonicMs() - movedAt > STALL_MS) throw new Error(`stuck: ${left} jobs are left`);
    // all are there: otherwise a slow machine would kill each before it has begun
    if (monotonicMs() >= killAt && fleet.size === PROCESSES) {
      killAt = Math.max(killAt + everyMs, monotonicMs());
      const pid = await fleet.killOne();
      kills++;
      fleet.replace();
      hits += await heldBy(session, pid);
    }
    await sleep(20);
  }
}

async function heldBy(session, pid) {
  const { rows } = await session.query(
    `select count(*)::int as n from howdah._jobs j join howdah._leases l on l.id = j.lease_id
     where l.info ->> 'pid' = $1`,
    [String(pid)],
  );
  return rows[0].n;
}

/**
 * Two accounts that know nothing of each other: the handlers' own of what they began, and the database's
 * of when each ended: members of one turn are claimed together and begin one after the other. A job may begin
 * again after its worker was killed, in its place.
 */
async function judge(session, starts, { groups, count }) {
  const begun = new Uint16Array(count);
  const last = new Int32Array(groups).fill(-1);
  let violations = 0;
  for (const { n } of starts) {
    begun[n]++;
    if (n < last[n % groups]) violations++;
    last[n % groups] = Math.max(last[n % groups], n);
  }
  const { rows } = await session.query(
    `select count(*)::int as ends, count(distinct id)::int as ended,
       count(*) filter (where state <> 'completed')::int as failed,
       coalesce(sum(attempt), 0)::int as attempts,
       count(*) filter (where finished_at < previous_end)::int as violations
     from (select *, lag(finished_at) over (partition by group_key order by id) as previous_end
       from howdah.history) h`,
  );
  const [ends] = rows;
  const lost = Math.max(
    count - ends.ended + ends.failed,
    begun.filter((times) => times === 0).length,
  );
  const account = {
    restarted: starts.length - count,
    violations: violations + ends.violations,
    lost,
    // one end each, and no start that no attempt was counted for
    repeated: ends.ends - ends.ended + Math.max(0, starts.length - ends.attempts),
  };
  if (account.violations + account.lost + account.repeated > 0) {
    throw new Error(`groups under fire: ${JSON.stringify(account)}`);
  }
  return account;
}
