import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '../../test/support/fault-proxy.js';
import type { Cluster } from '../cluster.js';
import type { Crowd } from '../crowd.js';
import type { Disk } from '../disk.js';
import type { Fleet } from '../fleet.js';
import type { Random } from '../random.js';

/** What a nemesis may lay hands on. */
export interface Field {
  readonly cluster: Cluster;
  readonly fleet: Fleet;
  readonly crowd: Crowd;
  /** One in front of each worker and of each producer. */
  readonly workerProxies: readonly FaultProxy[];
  readonly producerProxies: readonly FaultProxy[];
  readonly disk: Disk | undefined;
  readonly random: Random;
}

/** Thrown by a strike that hit and was not borne as promised; it fails the run. */
export class Violation extends Error {}

/** A kind of fault. */
export interface Nemesis {
  readonly name: string;
  /** A word for the report. */
  readonly what: string;
  /** Why it cannot act here; undefined where it can. */
  unable?(field: Field): string | undefined;
  /**
   * Does it once, and heals it. Returns what shows that it hit; undefined when it did not.
   * @throws Violation where it shows what no check of the end can see, a standstill for instance
   */
  strike(field: Field): Promise<string | undefined>;
}

/** All ways to the server. */
export function proxiesOf({ workerProxies, producerProxies }: Field): FaultProxy[] {
  return [...workerProxies, ...producerProxies];
}

/** Looks until the probe says something, at most so long. */
export async function seen<T>(
  probe: () => Promise<T | undefined>,
  timeoutMs: number,
): Promise<T | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await probe().catch(() => undefined);
    if (found) return found;
    if (performance.now() > deadline) return undefined;
    await sleep(25);
  }
}

/** Sessions of ours that wait for a lock now. */
export function waiting({ cluster }: Field): Promise<number> {
  return cluster.value<number>(
    "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and application_name <> 'torture'",
  );
}

/** Calls of producers that fail while something is done, counted once it is over. */
export async function failuresOf(field: Field, run: () => Promise<void>): Promise<number> {
  const before = field.crowd.failures;
  await run();
  await seen(async () => field.crowd.failures > before || undefined, 1_000);
  return field.crowd.failures - before;
}
