import { readdirSync, readFileSync } from 'node:fs';
import type { Hand } from './hand.js';
import type { Lab } from './lab.js';
import type { Site } from './site.js';
import { type Phase, runSteady, type SteadyReport } from './steady.js';
import type { Finding } from './subject.js';

const MEGABYTE = 1024 * 1024;
/** Flat is: the last third is at most so much over the first one. */
const SLACK = 1.25;
/** Below these, growth is noise. */
const RSS_SLACK = 24 * MEGABYTE;
const FILES_SLACK = 4;
const P99_SLACK_MS = 50;
const DISK_SLACK = 16 * MEGABYTE;
const DISTURB_EVERY_S = 20;

/** How the soak is run. */
export interface SoakOptions {
  readonly rate: number;
  readonly seconds: number;
}

interface Sample {
  readonly rss: number;
  readonly files: number;
  /** Tables and indexes of the schema. */
  readonly disk: number;
}

/** The rule by which a soak counts as flat, for the page. */
export const FLAT =
  'memory, descriptors and p99 of the last third at most 1.25 times those of the first (or 24 MB, 4 descriptors, 50 ms more); tables and indexes of the last third at most 1.25 times what they were at most in the held third, plus 16 MB';

/** Jobs come steadily, a snapshot is held in the middle third, sessions are ended now and then. */
export async function soak(lab: Lab, { rate, seconds }: SoakOptions): Promise<Finding> {
  const site = await lab.site({ autovacuum_naptime: '10s' });
  const samples: Sample[][] = [];
  let ticks = 0;
  let faults = 0;
  const report = await runSteady(site, {
    rate,
    seconds: Math.ceil(seconds / 3),
    async sample(crew, second) {
      if (second === 0) samples.push([]);
      const taken = await sampleOf(site, crew);
      samples.at(-1)?.push(taken);
      lab.say(
        `third ${samples.length}, ${second} s: memory ${megabytes(taken.rss)}, ${taken.files} descriptors, tables and indexes ${megabytes(taken.disk)}`,
      );
    },
    async disturb() {
      ticks += 1;
      if (ticks % DISTURB_EVERY_S === 0) faults += await endSession(site);
    },
  });
  for (const each of report.phases) lab.say(phaseOf(each));
  return judge(samples, report, faults);
}

function judge(
  samples: readonly Sample[][],
  { phases, failures, left }: SteadyReport,
  faults: number,
): Finding {
  const most = (third: number, key: keyof Sample): number =>
    Math.max(...(samples[third] ?? []).map((sample) => sample[key]));
  const [before, , after] = phases;
  const rules = {
    memory: isFlat(most(0, 'rss'), most(2, 'rss'), RSS_SLACK),
    descriptors: isFlat(most(0, 'files'), most(2, 'files'), FILES_SLACK),
    p99: isFlat(before?.p99Ms ?? 0, after?.p99Ms ?? 0, P99_SLACK_MS),
    'tables and indexes': isFlat(
      Math.max(most(0, 'disk'), most(1, 'disk')),
      most(2, 'disk'),
      DISK_SLACK,
    ),
  };
  const steep = Object.entries(rules).flatMap(([name, isGood]) => (isGood ? [] : [name]));
  const thirds = (key: keyof Sample, show: (n: number) => string): string =>
    [0, 1, 2].map((third) => show(most(third, key))).join(', ');
  return {
    measured: `${steep.length === 0 ? 'flat' : `not flat: ${steep.join(', ')}`}; per third: memory ${thirds('rss', megabytes)}; descriptors ${thirds('files', String)}; tables and indexes ${thirds('disk', megabytes)}; p99 ${phases.map(({ p99Ms }) => `${p99Ms} ms`).join(', ')}; ${failures} calls failed, ${left} jobs left`,
    faults,
    isMet: steep.length === 0 && left === 0,
  };
}

function isFlat(first: number, last: number, slack: number): boolean {
  return last <= Math.max(first * SLACK, first + slack);
}

function phaseOf({ name, offered, share, p50Ms, p99Ms }: Phase): string {
  return `${name}: ${offered} jobs, ${(share * 100).toFixed(1)} % ended within, p50 ${p50Ms} ms, p99 ${p99Ms} ms`;
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(1)} MB`;
}

/** Of the worker that has most; Linux only. */
async function sampleOf(site: Site, crew: readonly Hand[]): Promise<Sample> {
  const pids = crew.map(({ pid }) => pid);
  const disk = await site.value<number>(
    `select sum(pg_total_relation_size(c.oid))::float8 from pg_class c
    where c.relnamespace = 'howdah'::regnamespace and c.relkind in ('r', 'p')`,
  );
  return {
    rss: Math.max(...pids.map(residentOf)),
    files: Math.max(...pids.map((pid) => readdirSync(`/proc/${pid}/fd`).length)),
    disk,
  };
}

function residentOf(pid: number): number {
  const [, kilobytes = '0'] =
    /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1_024;
}

/** A light fault: one session is ended, and its owner connects again. */
function endSession(site: Site): Promise<number> {
  return site.value(
    `select count(pg_terminate_backend(pid))::int from (select pid from pg_stat_activity
      where application_name like 'howdah%' order by random() limit 1) s`,
  );
}
