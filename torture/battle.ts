import { setTimeout as sleep } from 'node:timers/promises';
import { FaultProxy } from '../test/support/fault-proxy.js';
import { autopsy } from './autopsy.js';
import type { Build } from './build.js';
import { CHECKS } from './checks/check.js';
import { type Evidence, gather } from './checks/evidence.js';
import { Cluster } from './cluster.js';
import { Crowd } from './crowd.js';
import { Disk } from './disk.js';
import { Fleet, type Place } from './fleet.js';
import type { Field, Nemesis } from './nemeses/nemesis.js';
import type { Random } from './random.js';
import { prepare } from './schema.js';
import { makeScratch, removeScratch } from './scratch.js';
import { type Strike, strikeFor } from './strikes.js';

/** One run: what acts, on what, for how long. */
export interface BattleOptions {
  readonly random: Random;
  readonly seconds: number;
  readonly nemeses: readonly Nemesis[];
  /** The package under test, whose migrations are applied, and one to run beside it. */
  readonly builds: readonly [Build, ...Build[]];
  /** Longest time in which nothing ends before what is left is taken for lost. Default 30 s. */
  readonly stallSeconds?: number;
  readonly log: (line: string) => void;
}

export interface Verdict {
  readonly check: string;
  readonly problems: readonly string[];
}

export interface BattleReport {
  readonly strikes: readonly Strike[];
  readonly verdicts: readonly Verdict[];
  readonly facts: Readonly<Record<string, number | string>>;
}

const HOUR_MS = 3_600_000;
/** One worker each: the clocks of two of three are wrong. */
const SKEWS_MS = [0, HOUR_MS, -HOUR_MS];
const PRODUCERS = 2;
const DISK_MB = 640;
const STALL_SECONDS = 30;
const LOOPS = 5;
const PAUSE_MS = 30;

/** Fights, waits until everything has ended, and judges. */
export async function fight(options: BattleOptions): Promise<BattleReport> {
  const { random, builds, log } = options;
  const dir = makeScratch('logs');
  const wantsDisk = options.nemeses.some(({ name }) => name === 'full-disk');
  const disk = wantsDisk ? Disk.make(DISK_MB) : undefined;
  const cluster = await Cluster.start(settingsOf(random), disk);
  const startProxies = (count: number): Promise<FaultProxy[]> =>
    Promise.all(Array.from({ length: count }, () => FaultProxy.start(cluster.url)));
  const workerProxies = await startProxies(SKEWS_MS.length);
  const producerProxies = await startProxies(PRODUCERS);
  const actors: (Fleet | Crowd)[] = [];
  try {
    await prepare(cluster, builds[0].packageDir);
    const snapshot = await holdSnapshot(cluster);
    const fleet = new Fleet({
      builds,
      dir,
      random: random.fork('fleet'),
    });
    actors.push(fleet);
    for (const place of placesOf(workerProxies)) fleet.start(place);
    const crowd = new Crowd({
      builds,
      dir,
      urls: producerProxies.map(({ url }) => url),
      random: random.fork('crowd'),
      loops: LOOPS,
      pauseMs: PAUSE_MS,
    });
    actors.push(crowd);
    const field: Field = {
      cluster,
      fleet,
      crowd,
      workerProxies,
      producerProxies,
      disk,
      random: random.fork('strikes'),
    };
    const strikes = await strikeFor(field, options);
    await crowd.stop();
    await snapshot.end();
    const left = await settled(cluster, options.stallSeconds ?? STALL_SECONDS);
    if (left > 0) await autopsy(cluster, fleet, log);
    const killed = await fleet.stop();
    const evidence = await gather(cluster, crowd, fleet);
    log(`  ${left} jobs left`);
    return {
      strikes,
      verdicts: [...judge(evidence), ...processes(crowd, fleet, killed), borne(strikes)],
      facts: factsOf(evidence, fleet),
    };
  } finally {
    for (const each of actors) each.kill();
    await Promise.all([...workerProxies, ...producerProxies].map((proxy) => proxy.stop()));
    await cluster.stop();
    disk?.remove();
    removeScratch(dir);
  }
}

function settingsOf(random: Random): Record<string, string | number | boolean> {
  return {
    autovacuum: random.chance(0.5),
    max_connections: 150,
    max_wal_size: '64MB',
    min_wal_size: '32MB',
    shared_buffers: '32MB',
  };
}

function placesOf(proxies: readonly FaultProxy[]): Place[] {
  return proxies.map(({ url }, i) => ({ url, skewMs: SKEWS_MS[i] ?? 0 }));
}

/** A transaction that is open throughout; begun again when its session is lost. */
async function holdSnapshot(cluster: Cluster): Promise<{ end(): Promise<void> }> {
  let isOver = false;
  const done = (async () => {
    while (!isOver) {
      try {
        const client = await cluster.connect();
        await client.query('begin isolation level repeatable read');
        await client.query('select 1 from orders limit 1');
        while (!isOver) {
          await client.query('select 1');
          await sleep(250);
        }
        await client.end();
      } catch {
        await sleep(250);
      }
    }
  })();
  return {
    end() {
      isOver = true;
      return done;
    },
  };
}

/** Waits until nothing is left to do, or nothing moves any more. Returns what is left. */
async function settled(cluster: Cluster, stallSeconds: number): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  let movedAt = performance.now();
  for (;;) {
    const left = await cluster
      .value<number>("select count(*)::int from howdah.job_states where state <> 'dead'")
      .catch(() => best);
    if (left === 0) return 0;
    if (left < best) {
      best = left;
      movedAt = performance.now();
    } else if (performance.now() - movedAt > stallSeconds * 1_000) return left;
    await sleep(200);
  }
}

function judge(evidence: Evidence): Verdict[] {
  return CHECKS.map(({ name, find }) => ({ check: name, problems: find(evidence) }));
}

function processes(crowd: Crowd, fleet: Fleet, killed: number): Verdict[] {
  const late = killed > 0 ? [`${killed} workers did not stop within 20 s`] : [];
  const loud = fleet.all
    .filter(({ child }) => child.errors !== '')
    .map(({ name, child }) => `${name} wrote ${child.errors.slice(0, 500)}`);
  return [
    { check: 'producers and workers end in good order', problems: [...crowd.faults, ...late] },
    { check: 'no process writes to its standard error', problems: loud },
  ];
}

function borne(strikes: readonly Strike[]): Verdict {
  return {
    check: 'what a nemesis must not stop goes on',
    problems: strikes.flatMap(({ nemesis, violation }) =>
      violation === undefined ? [] : [`${nemesis}: ${violation}`],
    ),
  };
}

function factsOf(evidence: Evidence, fleet: Fleet): Record<string, number> {
  const operations = evidence.operations.flat();
  const count = (type: string): number =>
    evidence.lines.filter((line) => line.type === type).length;
  return {
    operations: operations.length,
    'operations that failed': operations.filter(({ end }) => end === 'failed').length,
    jobs: evidence.jobs.length,
    'committed effects': evidence.effects.length,
    'dead letters': evidence.deadLetters,
    'worker processes': fleet.all.length,
    'stale settles refused': count('job.stale'),
    'leases lost': count('lease.lost'),
    'connections lost by workers': count('connection.lost'),
    ...completionsByBuild(fleet),
  };
}

function completionsByBuild(fleet: Fleet): Record<string, number> {
  if (fleet.builds.length === 1) return {};
  const count = (name: string): number =>
    fleet.all
      .filter(({ build }) => build.name === name)
      .flatMap((member) => fleet.linesOf(member))
      .filter(({ type }) => type === 'job.completed').length;
  return Object.fromEntries(
    fleet.builds.map(({ name }) => [`jobs completed by workers of ${name}`, count(name)]),
  );
}
