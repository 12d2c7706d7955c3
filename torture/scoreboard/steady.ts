import { setTimeout as sleep } from 'node:timers/promises';
import type { Hand } from './hand.js';
import type { Site } from './site.js';
import { percentile, Stream } from './stream.js';

const CREW = 2;
const WAKE_MS = 250;

/** What happens while jobs come at a steady rate: free, with a snapshot held, free again. */
export interface SteadyOptions {
  readonly rate: number;
  /** Of each of the three phases. */
  readonly seconds: number;
  /** Called again and again in all phases: light faults. */
  readonly disturb?: (crew: Hand[]) => Promise<void>;
  /** Called every ten seconds. */
  readonly sample?: (crew: readonly Hand[], second: number) => Promise<void>;
}

export interface Phase {
  readonly name: 'before' | 'held' | 'after';
  readonly offered: number;
  /** Share of what was offered that ended within the phase. */
  readonly share: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface SteadyReport {
  readonly phases: readonly Phase[];
  /** From the end of the snapshot until the p99 of a second is at most twice the one before it. */
  readonly recoveryMs: number;
  readonly failures: number;
  /** Jobs that had not ended when nothing moved any more. */
  readonly left: number;
}

interface Mark {
  readonly name: Phase['name'];
  readonly from: number;
  readonly to: number;
}

/** Runs the three phases; latencies are from the call of the enqueue to the settled completion. */
export async function runSteady(site: Site, options: SteadyOptions): Promise<SteadyReport> {
  const queue = await site.queue('steady', { retention_ms: 30_000 });
  const work = { queue, lease: 5_000, binding: { concurrency: 20 } };
  const crew = await site.crew(CREW, work);
  const payload = { do: 'done', isQuiet: true };
  const stream = Stream.of(site.client(), queue, options.rate, payload);
  await sleep(3_000);
  const phase = (name: Phase['name']): Promise<Mark> => hold(name, crew, options);
  const before = await phase('before');
  const snapshot = await site.cluster.connect();
  await snapshot.query('begin isolation level repeatable read');
  await snapshot.query('select count(*) from runs');
  const held = await phase('held');
  await snapshot.query('commit');
  await snapshot.end();
  const after = await phase('after');
  await stream.stop();
  const left = await site.settled();
  await site.dismiss();
  const ends = endsOf(site, stream);
  const phases = [before, held, after].map((mark) => describe(mark, ends, stream));
  return {
    phases,
    recoveryMs: recovery(ends, after, phases[0]?.p99Ms ?? 0),
    failures: stream.failures,
    left,
  };
}

async function hold(name: Phase['name'], crew: Hand[], options: SteadyOptions): Promise<Mark> {
  const from = Date.now();
  for (let second = 0; second < options.seconds; second += 1) {
    if (second % 10 === 0) await options.sample?.(crew, second);
    await options.disturb?.(crew);
    const left = from + (second + 1) * 1_000 - Date.now();
    if (left > 0) await sleep(left);
  }
  return { name, from, to: Date.now() };
}

interface End {
  /** When its enqueue was called. */
  readonly sentAt: number;
  readonly latencyMs: number;
}

function endsOf(site: Site, stream: Stream): End[] {
  const ends: End[] = [];
  for (const hand of site.hands)
    for (const { type, job, at } of hand.eachEvent()) {
      const sentAt = type === 'job.completed' ? stream.acknowledged.get(job?.id ?? '') : undefined;
      if (sentAt !== undefined) ends.push({ sentAt, latencyMs: at - sentAt });
    }
  return ends;
}

function describe({ name, from, to }: Mark, ends: readonly End[], stream: Stream): Phase {
  const within = (at: number): boolean => at >= from && at < to;
  const offered = [...stream.acknowledged.values()].filter(within).length;
  const latencies = ends.filter(({ sentAt }) => within(sentAt)).map((each) => each.latencyMs);
  const done = ends.filter(({ sentAt, latencyMs }) => within(sentAt + latencyMs)).length;
  return {
    name,
    offered,
    share: done / offered,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
  };
}

/** Seconds are looked at one by one; the first that is as before, and the wait until it began. */
function recovery(ends: readonly End[], { from, to }: Mark, p99Ms: number): number {
  for (let at = from; at < to; at += 1_000) {
    const own = ends.filter(({ sentAt }) => sentAt >= at && sentAt < at + 1_000);
    const p99 = percentile(
      own.map(({ latencyMs }) => latencyMs),
      0.99,
    );
    if (own.length > 0 && p99 <= Math.max(2 * p99Ms, WAKE_MS)) return at - from;
  }
  return to - from;
}
