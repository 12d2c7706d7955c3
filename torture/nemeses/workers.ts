import { setTimeout as sleep } from 'node:timers/promises';
import type { Member } from '../fleet.js';
import { type Field, type Nemesis, seen } from './nemesis.js';

/** Jobs that are held by this worker now. */
function held({ cluster }: Field, { name }: Member): Promise<number> {
  return cluster.value<number>(
    "select count(*)::int from howdah.job_states where worker = $1 and state = 'running'",
    [name],
  );
}

/** A worker that holds jobs, if there is one soon, and how many. */
async function busyMember(field: Field): Promise<{ member: Member; jobs: number } | undefined> {
  const members = field.random.shuffle(field.fleet.members);
  return seen(async () => {
    for (const member of members) {
      const jobs = member.child.isRunning ? await held(field, member) : 0;
      if (jobs > 0) return { member, jobs };
    }
    return undefined;
  }, 3_000);
}

const LEASE_MS = 2_000;

export const killWorker: Nemesis = {
  name: 'kill-worker',
  what: 'kill -9 of a worker that holds jobs',
  async strike(field) {
    const victim = await busyMember(field);
    if (!victim) return undefined;
    await victim.member.child.end('SIGKILL');
    return `${victim.jobs} jobs held`;
  },
};

/** Frozen for longer than its lease: others take its jobs, then it comes back and goes on. */
export const zombie: Nemesis = {
  name: 'zombie',
  what: 'SIGSTOP past the lease, then SIGCONT',
  async strike(field) {
    const victim = await busyMember(field);
    if (!victim) return undefined;
    const { member, jobs } = victim;
    member.child.kill('SIGSTOP');
    await sleep(LEASE_MS + field.random.int(1_000, 2_500));
    const lines = field.fleet.linesOf(member).length;
    member.child.kill('SIGCONT');
    const line = await field.fleet
      .heard(member, ['lease.lost', 'job.stale'], lines, 8_000)
      .catch(() => undefined);
    return line && `${jobs} jobs held, then ${line.type}`;
  },
};

export const restartWorker: Nemesis = {
  name: 'restart-worker',
  what: 'SIGTERM of a worker that holds jobs (rolling restart)',
  async strike(field) {
    const victim = await busyMember(field);
    if (!victim) return undefined;
    await victim.member.child.end('SIGTERM');
    return `${victim.jobs} jobs held, exit code ${victim.member.child.exitCode}`;
  },
};

/** A rolling update, or its undoing: a worker is exchanged for one of the other build. */
export const otherBuild: Nemesis = {
  name: 'other-build',
  what: 'SIGTERM of a worker, and another version of the package takes its place',
  unable: ({ fleet }) =>
    fleet.builds.length > 1 ? undefined : 'no other version given (--beside)',
  async strike(field) {
    const { fleet, random } = field;
    const member = random.pick(fleet.members);
    const build = random.pick(fleet.builds.filter((each) => each !== member.build));
    const { name } = await fleet.exchange(member, build);
    const next = fleet.members.find((each) => each.name === name);
    const line =
      next && (await fleet.heard(next, ['job.completed'], 0, 30_000).catch(() => undefined));
    if (!line) return undefined;
    const names = fleet.members.map((each) => each.build.name);
    return `${name} of ${build.name} completes jobs; now ${names.join(', ')}`;
  },
};

/** More than any job may end: the checks say so. */
const FALLEN_MAX = 6;

/** A job whose handler ends its process, until it has no attempt left. */
export const killerJob: Nemesis = {
  name: 'killer-job',
  what: 'a job whose handler ends its process',
  async strike({ cluster, fleet }) {
    const id = await cluster.value<string>(
      `select id::text from howdah.enqueue('{"queue":"poison","payload":{"do":"exit"}}')`,
    );
    const before = fleet.all.length;
    const isDead = (): Promise<boolean> =>
      cluster.value<boolean>(
        "select exists (select from howdah.job_states where id = $1 and state = 'dead')",
        [id],
      );
    return seen(async () => {
      const fallen = fleet.all.length - before;
      if (await isDead()) return `job ${id} is dead, ${fallen} workers fell`;
      return fallen > FALLEN_MAX ? `job ${id} has ended ${fallen} workers` : undefined;
    }, 60_000);
  },
};
