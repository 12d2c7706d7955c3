import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BatchOptions, WorkerEventType, WorkerOptions, WorkOptions } from 'howdah';
import type pg from 'pg';
import { onTestFinished } from 'vitest';
import { waitFor } from './wait-for.js';
import { ROOT, WorkerProcess } from './worker-process.js';

/** Options of `scripts/fault-worker.mjs`. */
export interface FaultWorkerOptions
  extends Pick<WorkerOptions, 'lease' | 'heartbeat' | 'poll' | 'grace' | 'name' | 'maintain'> {
  readonly url: string;
  readonly queue: string;
  /** Where its handlers write; default `url`. */
  readonly effectsUrl?: string;
  readonly binding?: WorkOptions & {
    readonly batch?: BatchOptions;
    readonly transactional?: boolean;
  };
  /** Worked as well, one job at a time. */
  readonly extraQueues?: readonly string[];
}

/** An event as the process printed it. */
export interface PrintedEvent {
  readonly type: WorkerEventType;
  /** Unix time in milliseconds. */
  readonly at: number;
  readonly job?: { readonly id: string; readonly attempt: number };
  readonly error?: { readonly code?: string; readonly message: string };
  readonly [fact: string]: unknown;
}

/** A worker in a process of its own. */
export class FaultWorker {
  readonly process: WorkerProcess;

  constructor(options: FaultWorkerOptions, nodeArgs: readonly string[] = []) {
    const script = `${ROOT}test/support/scripts/fault-worker.mjs`;
    this.process = new WorkerProcess([...nodeArgs, script, JSON.stringify(options)]);
  }

  get pid(): number {
    return this.process.pid;
  }

  /** What it has reported so far. */
  get events(): PrintedEvent[] {
    const lines = this.process.stdout.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as PrintedEvent);
  }

  of(type: WorkerEventType): PrintedEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** Waits for its n-th event of a type; fails at once when the process ends before. */
  async heard(type: WorkerEventType, count = 1, timeoutMs = 20_000): Promise<PrintedEvent> {
    const what = `event ${type} number ${count}`;
    await waitFor(() => this.of(type).length >= count || !this.process.isRunning, {
      timeoutMs,
      what,
    }).catch((cause) => {
      throw new Error(`no ${what} in:\n${this.process.output.slice(-4_000)}`, { cause });
    });
    const event = this.of(type)[count - 1];
    if (!event) throw new Error(`ended without ${what}:\n${this.process.output.slice(-4_000)}`);
    return event;
  }
}

/** Starts one and waits until it looks for jobs. */
export async function startFaultWorker(options: FaultWorkerOptions): Promise<FaultWorker> {
  const worker = new FaultWorker(options);
  await worker.heard('worker.started');
  return worker;
}

/** Tables in which the handlers count what they did, without any constraint that would hide a fault. */
export async function createCounts(pool: pg.Pool): Promise<void> {
  await pool.query(`create table if not exists runs (job_id bigint, attempt int, pid int,
    at timestamptz default clock_timestamp())`);
  await pool.query('create table if not exists effects (job_id bigint, attempt int, pid int)');
}

export interface CountRow {
  readonly job_id: string;
  readonly attempt: number;
  readonly pid: number;
}

/** Runs of some jobs, oldest first. */
export async function readRuns(
  pool: pg.Pool,
  ids: readonly (string | undefined)[],
): Promise<(CountRow & { readonly at: Date })[]> {
  const { rows } = await pool.query('select * from runs where job_id = any ($1) order by at', [
    ids,
  ]);
  return rows;
}

/** Waits until so many runs of these jobs have begun. */
export async function waitForRuns(
  pool: pg.Pool,
  ids: readonly (string | undefined)[],
  count = ids.length,
  timeoutMs = 20_000,
): Promise<(CountRow & { readonly at: Date })[]> {
  return waitFor(
    async () => {
      const runs = await readRuns(pool, ids);
      return runs.length >= count ? runs : undefined;
    },
    { timeoutMs, what: `${count} runs of ${ids.length} jobs` },
  );
}

/** Waits until all these jobs are completed. */
export async function waitForAllCompleted(
  pool: pg.Pool,
  ids: readonly string[],
  timeoutMs = 30_000,
): Promise<void> {
  let open: unknown;
  await waitFor(
    async () => {
      const { rows } = await pool.query(
        `select coalesce(j.state, 'nowhere') as state, count(*)::int as n, min(i.id) as example
        from unnest($1::bigint[]) i (id) left join howdah.jobs j on j.id = i.id
        where j.state is distinct from 'completed' group by 1`,
        [ids],
      );
      open = rows;
      return rows.length === 0;
    },
    { timeoutMs, what: 'all jobs to be completed' },
  ).catch((cause) => {
    throw new Error(`not completed: ${JSON.stringify(open)}`, { cause });
  });
}

/** The jobs that do not have exactly one committed effect, with how many they have. */
export async function wrongEffects(pool: pg.Pool, ids: readonly string[]): Promise<unknown[]> {
  const { rows } = await pool.query(
    `select i.id, count(e.job_id)::int as effects from unnest($1::bigint[]) i (id)
    left join effects e on e.job_id = i.id group by 1 having count(e.job_id) <> 1`,
    [ids],
  );
  return rows;
}

/** Something that handlers wait for. */
export interface Gate {
  /** For the payload. */
  readonly path: string;
  open(): void;
}

export async function makeGate(): Promise<Gate> {
  const folder = await mkdtemp(path.join(tmpdir(), 'howdah-gate-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'open');
  return {
    path: file,
    open: () => {
      if (!existsSync(file)) writeFileSync(file, '');
    },
  };
}
