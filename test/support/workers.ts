import {
  createWorker,
  silentLogger,
  type Worker,
  type WorkerEvent,
  type WorkerOptions,
} from 'howdah';
import type pg from 'pg';
import { onTestFinished } from 'vitest';
import { waitFor } from './wait-for.js';
import { ROOT, spawnScript, type WorkerProcess } from './worker-process.js';

export interface TestWorker {
  readonly worker: Worker;
  /** Everything it has reported so far. */
  readonly events: WorkerEvent[];
}

/** A worker that reports its events and is stopped at the end of the test. */
export function makeWorker(options: WorkerOptions): TestWorker {
  const worker = createWorker({ logger: silentLogger, ...options });
  const events: WorkerEvent[] = [];
  worker.onEvent((event) => events.push(event));
  onTestFinished(async () => {
    await worker.stop({ grace: 0 });
  });
  return { worker, events };
}

/** The same, started. */
export async function startWorker(options: WorkerOptions): Promise<TestWorker> {
  const made = makeWorker(options);
  await made.worker.start();
  return made;
}

/** Waits until the worker has reported an event of this type. */
export function heard<T extends WorkerEvent['type']>(
  { events }: TestWorker,
  type: T,
  timeoutMs = 10_000,
): Promise<Extract<WorkerEvent, { type: T }>> {
  return waitFor(
    () => events.find((event): event is Extract<WorkerEvent, { type: T }> => event.type === type),
    { timeoutMs, what: `event ${type} among ${events.map((event) => event.type).join()}` },
  );
}

let queuesMade = 0;

/** Creates a queue of its own for a test. @returns its name */
export async function createQueue(pool: pg.Pool, policy: object = {}): Promise<string> {
  queuesMade += 1;
  const name = `q${process.pid}-${queuesMade}`;
  await pool.query('select howdah.create_queue($1, $2::text::jsonb)', [
    name,
    JSON.stringify(policy),
  ]);
  return name;
}

/** Enqueues jobs as any language would. @returns their ids */
export async function enqueue(
  pool: pg.Pool | pg.PoolClient,
  queue: string,
  jobs: readonly object[] = [{}],
): Promise<string[]> {
  const asks = jobs.map((job) => ({ queue, payload: {}, ...job }));
  const { rows } = await pool.query(
    'select id from howdah.enqueue($1::text::jsonb) order by ordinal',
    [JSON.stringify(asks)],
  );
  return rows.map((row) => row.id);
}

/** A job, whatever state it is in. */
export interface JobRow {
  readonly state: string;
  readonly attempt: number;
  readonly result: unknown;
  readonly reason: string | null;
  readonly errors: { name: string; message: string; code?: string; attempt: number }[] | null;
  readonly worker: string | null;
  readonly run_at: Date | null;
}

export async function readJob(pool: pg.Pool, id: string | undefined): Promise<JobRow> {
  const { rows } = await pool.query('select * from howdah.jobs where id = $1', [id]);
  if (!rows[0]) throw new Error(`job ${id} is nowhere`);
  return rows[0];
}

/** Waits until a job is in a state. */
export async function waitForState(
  pool: pg.Pool,
  id: string | undefined,
  state: string,
  timeoutMs = 10_000,
): Promise<JobRow> {
  let last: JobRow | undefined;
  await waitFor(
    async () => {
      last = await readJob(pool, id);
      return last.state === state;
    },
    { timeoutMs, what: `job ${id} to be ${state}` },
  ).catch((cause) => {
    throw new Error(`job ${id} is ${JSON.stringify(last)}, not ${state}`, { cause });
  });
  return last as JobRow;
}

/** Resolves when it has been called so many times. */
export function countdown(times: number): { tick: () => void; done: Promise<void> } {
  let left = times;
  let resolve: () => void = () => {};
  const done = new Promise<void>((ok) => {
    resolve = ok;
  });
  return {
    tick: () => {
      left -= 1;
      if (left === 0) resolve();
    },
    done,
  };
}

/** What the program of {@link spawnWorker} is told. */
export interface WorkerProgram {
  readonly url: string;
  readonly queue: string;
  readonly handler: 'noop' | 'patient';
  /** How long the patient handler takes. */
  readonly ms?: number;
  readonly concurrency?: number;
  readonly grace?: string;
  /** Types of events to print. */
  readonly events?: readonly WorkerEvent['type'][];
}

/** A worker in a process of its own, ready; see `scripts/worker.mjs` for what it prints. */
export async function spawnWorker(program: WorkerProgram): Promise<WorkerProcess> {
  const child = spawnScript(`${ROOT}test/support/scripts/worker.mjs`, [], {
    env: { WORKER: JSON.stringify(program) },
  });
  await child.waitForOutput(/^ready$/m);
  return child;
}
