import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Member } from '../fleet.js';
import type { Random } from '../random.js';
import { type Field, type Nemesis, Violation } from './nemesis.js';

/** Longer than a lease: a heartbeat that waits loses it. */
const HOLD_MS = { min: 3_000, max: 5_000 };

/** Time for the calls that were under way, and for those that a round of the upkeep has to end. */
const BEGIN_MS = 500;

/** One call of a public function each. What it locks stays locked until the transaction ends. */
const HOLDS: Readonly<Record<string, (random: Random) => string>> = {
  group: (random) =>
    enqueue({ queue: 'groups', payload: {}, group: `g-1-${random.int(0, 4)}-${random.int(0, 1)}` }),
  lane: (random) => enqueue({ queue: 'notes', payload: {}, priority: random.int(1, 100) }),
  'dedupe key': (random) =>
    enqueue({
      queue: 'effects',
      payload: {},
      dedupe: { key: `key-${random.int(0, 199)}`, window_ms: 3_600_000 },
    }),
  queue: () => `select howdah.alter_queue('notes', '{"max_attempts": 999}')`,
  'paused queue': () => `select howdah.pause_queue('notes', 'torture')`,
  'running job': () =>
    `select howdah.cancel(array[id]) from howdah.job_states where state = 'running' limit 1`,
  'waiting job': () =>
    `select howdah.run_now(array[id]) from howdah.job_states where state = 'scheduled' limit 1`,
  lease: (random) =>
    `select howdah.drain_worker(worker) from howdah.job_states where worker is not null
      order by md5(worker || '${random.int(0, 99)}') limit 1`,
  batch: () => `select howdah.open_batch('{}')`,
};

function enqueue(job: object): string {
  return `select id from howdah.enqueue('${JSON.stringify(job)}')`;
}

/** An application's transaction that has called one function and stays open. */
export const openTransaction: Nemesis = {
  name: 'open-transaction',
  what: 'an application holds what one call has locked, for longer than a lease',
  async strike(field) {
    const client = await field.cluster.connect();
    try {
      const kind = field.random.pick(Object.keys(HOLDS));
      const text = HOLDS[kind]?.(field.random) ?? '';
      return (await hold(client, text)) > 0 ? await watch(field, kind) : undefined;
    } finally {
      // what it has done never was
      await client.query('rollback').catch(() => undefined);
      await client.end().catch(() => undefined);
    }
  },
};

/** How many rows the call answered: 0 where there was nothing that it could lock. */
async function hold(client: pg.Client, text: string): Promise<number> {
  await client.query(
    'begin; set local lock_timeout = 0; set local idle_in_transaction_session_timeout = 0',
  );
  const { rowCount } = await client.query(text);
  return rowCount ?? 0;
}

/** Demands of each worker that it completes jobs meanwhile, and that it keeps its lease. */
async function watch(field: Field, kind: string): Promise<string | undefined> {
  await sleep(BEGIN_MS);
  const members = field.fleet.members.filter(({ child }) => child.isRunning);
  const from = new Map(members.map((member) => [member, field.fleet.linesOf(member).length]));
  const acknowledged = field.crowd.acknowledged;
  const ms = field.random.int(HOLD_MS.min, HOLD_MS.max);
  await sleep(ms);
  const count = (member: Member, type: string): number =>
    field.fleet
      .linesOf(member)
      .slice(from.get(member))
      .filter((line) => line.type === type).length;
  const idle = members.filter((each) => count(each, 'job.completed') === 0);
  const lost = members.filter((each) => count(each, 'lease.lost') > 0);
  const names = (list: readonly Member[]): string => list.map(({ name }) => name).join(', ');
  if (idle.length > 0) throw new Violation(`${kind}: ${names(idle)} completed nothing in ${ms} ms`);
  if (lost.length > 0) throw new Violation(`${kind}: ${names(lost)} lost the lease`);
  const completed = members.reduce((sum, each) => sum + count(each, 'job.completed'), 0);
  return `${kind}: ${completed} jobs completed, ${field.crowd.acknowledged - acknowledged} calls acknowledged meanwhile`;
}
