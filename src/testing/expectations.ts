import { AssertionError } from 'node:assert';
import type { JobState } from '../core/job/job.js';
import { encodeJson, type Json } from '../core/json.js';
import { invalidOption } from '../core/option.js';
import { type AnyQueue, nameOf } from '../core/queue/queue.js';
import {
  EXPECTED_JOBS_TEXT,
  type ExpectedJobs,
  type FoundJobs,
  readFoundJobs,
} from '../db/calls/expected-jobs.js';
import type { PoolLike } from '../db/connect/pool-like.js';
import { Database } from '../db/database.js';
import { type TxHandle, transactionRunner } from '../db/handles/transaction-handle.js';
import { checkSchema } from '../db/options.js';

const WAITING: readonly JobState[] = ['scheduled', 'blocked', 'ready', 'running'];

/** Where to look: an open transaction, which sees what it has enqueued itself; a pool; a URL. */
export type Inspected = TxHandle | PoolLike | string;

/** Which jobs are meant. */
export interface Expectation {
  readonly queue: AnyQueue | string;
  /** Part of the payload: members that it must have, at any depth; of arrays, elements. */
  readonly payload?: Json;
  /** Part of the headers. */
  readonly headers?: Readonly<Record<string, Json>>;
  readonly priority?: number;
  readonly group?: string;
  /** Default: `scheduled`, `blocked`, `ready`, `running`. */
  readonly state?: JobState | readonly JobState[];
  /** How many there must be, 0 or more. Default: at least one. */
  readonly count?: number;
  /** Default `howdah`. */
  readonly schema?: string;
}

/**
 * Fails unless the jobs are there.
 * @throws AssertionError that shows what is there instead; HowdahError for a bad expectation
 */
export async function assertEnqueued(where: Inspected, expected: Expectation): Promise<void> {
  const { count } = expected;
  if (count !== undefined && !(Number.isInteger(count) && count >= 0)) {
    throw invalidOption('count', count, 'Use a whole number, or leave it out for at least one.');
  }
  const found = await look(where, expected);
  if (count === undefined ? found.matching > 0 : found.matching === count) return;
  throw failure(
    expected,
    count === undefined ? 'at least 1' : String(count),
    found,
    assertEnqueued,
  );
}

/**
 * Fails if such a job is there.
 * @throws AssertionError that shows what is there; HowdahError for a bad expectation
 */
export async function refuteEnqueued(
  where: Inspected,
  expected: Omit<Expectation, 'count'>,
): Promise<void> {
  const found = await look(where, expected);
  if (found.matching > 0) throw failure(expected, 'none', found, refuteEnqueued);
}

async function look(where: Inspected, expected: Expectation): Promise<FoundJobs> {
  const schema = checkSchema(expected.schema);
  const text = EXPECTED_JOBS_TEXT.replaceAll('{{schema}}', `"${schema}"`);
  const ask = encode(expected);
  if (typeof where !== 'string' && !isPool(where)) {
    return readFoundJobs(await transactionRunner(where, schema)(text, ask));
  }
  const database = new Database({
    schema,
    ...(typeof where === 'string' ? { url: where, connectionsMax: 1 } : { pool: where }),
  });
  try {
    return readFoundJobs(await database.query({ text }, [ask]));
  } finally {
    await database.close();
  }
}

/** A pool connects, and runs statements outside a transaction; a client connects, too, but counts nothing. */
function isPool(where: TxHandle | PoolLike): where is PoolLike {
  if (typeof where !== 'object' || where === null) return false;
  const { connect, query, totalCount } = where as unknown as Record<string, unknown>;
  return typeof connect === 'function' && (typeof totalCount === 'number' || query === undefined);
}

function encode({ queue, payload, headers, priority, group, state }: Expectation): string {
  const ask: ExpectedJobs = {
    queue: nameOf(queue),
    states: state === undefined ? WAITING : [state].flat(),
    payload: payload ?? null,
    headers: headers ?? null,
    priority: priority ?? null,
    group: group ?? null,
  };
  return encodeJson(ask, 'expectation');
}

function failure(
  expected: Expectation,
  count: string,
  found: FoundJobs,
  stackStartFn: (...args: never[]) => unknown,
): AssertionError {
  const { queue, schema: _, count: __, ...rest } = expected;
  const about = Object.keys(rest).length === 0 ? '' : ` like ${JSON.stringify(rest)}`;
  const jobs = found.examples.map((job) => `\n  ${JSON.stringify(job)}`).join('');
  const there = found.jobs === 0 ? 'None is there.' : `Of ${found.jobs}, the newest:${jobs}`;
  return new AssertionError({
    message: `Expected ${count} jobs in queue ${nameOf(queue)}${about}, found ${found.matching}. ${there}`,
    actual: found.matching,
    expected: count,
    operator: stackStartFn.name,
    stackStartFn: stackStartFn as (...args: unknown[]) => unknown,
  });
}
