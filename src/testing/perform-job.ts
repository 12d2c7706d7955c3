import { Client } from '../client/client.js';
import type { JobDetails } from '../client/operate/jobs.js';
import { systemClock } from '../core/clock.js';
import type { ErrorSnapshot } from '../core/codec/error-snapshot.js';
import { HowdahError } from '../core/errors.js';
import { EventHub, type WorkerEvent } from '../core/events.js';
import type { JobOptions } from '../core/job/enqueue-options.js';
import type { Json } from '../core/json.js';
import { givenObject } from '../core/option.js';
import { claimCalls } from '../db/calls/claim.js';
import type { DatabaseOptions } from '../db/options.js';
import { type Logger, silentLogger } from '../telemetry/logger.js';
import { Engine } from '../worker/engine.js';
import type { Binding } from '../worker/handler/binding.js';
import { resolveWorkerOptions } from '../worker/options.js';
import type { Runner } from '../worker/run/runner.js';
import { shutDown } from '../worker/stop/shutdown.js';

/** Lanes of every priority: see `migrations/0003_jobs.sql`. */
const LANES = Array.from({ length: 402 }, (_, lane) => lane);

/** Where a job is performed, and as what. */
export interface PerformOptions extends DatabaseOptions {
  /** Options of the job; one that is to wait cannot be performed. */
  readonly job?: Omit<JobOptions, 'delay' | 'runAt' | 'dedupe'>;
  /** Default: none. */
  readonly logger?: Logger;
}

/** What became of the attempt. */
export interface Performed {
  readonly outcome:
    | 'completed'
    | 'failed'
    | 'snoozed'
    | 'released'
    | 'rate-limited'
    | 'dead'
    | 'cancelled'
    | 'expired'
    | 'stale';
  /** Of a completed job; null where the handler returned none. */
  readonly result: Json | null;
  /** Of a failed or dead one. */
  readonly error: ErrorSnapshot | undefined;
  /** When the job runs again; null: at once, or not. */
  readonly runAt: Date | null;
  /** The job afterwards. */
  readonly job: JobDetails;
}

/**
 * Enqueues a job and runs one attempt of it, that job only, as a worker would: with the schema, the
 * policy and the run time-out of its queue, under a lease, settled in the database.
 * @param binding what `work(queue, handler)` returned; no batch
 * @throws HowdahError as `enqueue` and `Worker.start`; HOWDAH_OPTION_INVALID where the job is not ready
 */
export async function performJob(
  binding: Binding,
  payload: unknown,
  options: PerformOptions,
): Promise<Performed> {
  const { job = {}, logger = silentLogger, ...database } = givenObject('options', options);
  const settings = resolveWorkerOptions({
    ...database,
    queues: [binding],
    logger,
    maintain: false,
  });
  const hub = new EventHub();
  const engine = new Engine({ settings, clock: systemClock, hub, companion: undefined });
  const client = new Client(database);
  try {
    await engine.open();
    const { id } = await client.enqueue(binding.queue as string, payload, { ...job, delay: 0 });
    const ended = endOf(hub, id);
    await begin(engine, id, client);
    const event = await ended;
    return describe(event, (await client.jobs.get(id)) as JobDetails);
  } finally {
    await shutDown(engine, 0, new AbortController().signal);
    await client.close();
  }
}

/** Claims the job, and no other: the cursor of every lane stands right before it. */
async function begin(engine: Engine, id: string, client: Client): Promise<void> {
  const [runner] = engine.runners as readonly [Runner];
  const leaseId = engine.keeper.id ?? '';
  const before = Number(id) - 1;
  const { rows, hold } = await claimCalls(engine.database).claim(
    engine.claimLine,
    runner.name,
    leaseId,
    1,
    { lanes: LANES, after: LANES.map(() => before), isDeep: false },
    1,
  );
  if (rows[0]?.[0] === id) {
    runner.accept(rows, leaseId, false);
    return;
  }
  runner.release(rows, leaseId);
  const state = (await client.jobs.get(id))?.state;
  await client.jobs.cancel(id, 'not performed');
  throw new HowdahError(
    'HOWDAH_OPTION_INVALID',
    `The job cannot be performed: it is ${state}${hold?.reason ? `, and the queue ${hold.reason}` : ''}.`,
    { details: { state, reason: hold?.reason }, remedy: 'Perform it while nothing holds it up.' },
  );
}

/** Resolves with the event that ends the attempt of this job. */
function endOf(hub: EventHub, id: string): Promise<WorkerEvent> {
  return new Promise((resolve) => {
    let released: WorkerEvent | undefined;
    hub.add((event) => {
      if (!isEnd(event) || event.job.id !== id) return;
      // a rate limit is reported right behind the release that it is
      if (event.type === 'job.released') {
        released = event;
        setImmediate(() => resolve(released as WorkerEvent));
      } else resolve(event);
    });
  });
}

const ENDS = {
  'job.completed': 'completed',
  'job.failed': 'failed',
  'job.snoozed': 'snoozed',
  'job.released': 'released',
  'job.rate-limited': 'rate-limited',
  'job.dead': 'dead',
  'job.cancelled': 'cancelled',
  'job.expired': 'expired',
  'job.stale': 'stale',
} as const satisfies Partial<Record<WorkerEvent['type'], Performed['outcome']>>;

type EndEvent = Extract<WorkerEvent, { readonly type: keyof typeof ENDS }>;

function isEnd(event: WorkerEvent): event is EndEvent {
  return event.type in ENDS;
}

function describe(event: WorkerEvent, job: JobDetails): Performed {
  return {
    outcome: ENDS[event.type as keyof typeof ENDS],
    result: job.result,
    error: 'error' in event && !(event.error instanceof Error) ? event.error : undefined,
    runAt: 'runAt' in event ? event.runAt : null,
    job,
  };
}
