import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';
import {
  isStandardSchema,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema,
} from '../job/standard-schema.js';
import type { Json, Jsonified } from '../json.js';
import { assertQueueName, assertQueueNames } from './queue-name.js';
import { encodePolicy, type QueuePolicy, type SqlPolicy } from './queue-policy.js';

declare const IN: unique symbol;
declare const OUT: unique symbol;
declare const RESULT: unique symbol;
declare const RETURNED: unique symbol;

/**
 * A queue as the program declares it: `In` is what producers hand over, `Out` what handlers get, `Returned`
 * what they return, `Result` what producers get of it. Made by {@link queue}; frozen.
 */
export interface Queue<
  Name extends string = string,
  In = unknown,
  Out = In,
  Result = Json,
  Returned = Result,
> {
  readonly name: Name;
  readonly policy: QueuePolicy;
  /** Priority of jobs that name none, -100 to 100; higher runs first. */
  readonly priority: number;
  readonly schema?: StandardSchema;
  /** Checks results where they are awaited. */
  readonly resultSchema?: StandardSchema;
  /** The queue that receives dead jobs, where the declaration names one. */
  readonly deadLetterQueue?: AnyQueue;
  /** Exists for the compiler only. */
  readonly [IN]?: (payload: In) => void;
  /** Exists for the compiler only. */
  readonly [OUT]?: Out;
  /** Exists for the compiler only. */
  readonly [RESULT]?: Result;
  /** Exists for the compiler only. */
  readonly [RETURNED]?: Returned;
}

/** A queue of any payload. */
export type AnyQueue = Queue<string, never, unknown, unknown>;

/** What a queue can be declared with: its policy and how its payloads are checked. */
export interface QueueOptions extends Omit<QueuePolicy, 'deadLetterQueue'> {
  /** Priority of jobs that name none, -100 to 100; higher runs first. Default 0. */
  readonly priority?: number;
  /** Queue that receives dead jobs, declared with this one. Default `dead-letters`. */
  readonly deadLetterQueue?: string | AnyQueue;
}

/**
 * Declares a queue. With a `schema` (Zod, Valibot, ArkType or any Standard Schema) payloads are
 * checked when they are enqueued and again before the handler sees them: the handler gets what the
 * schema returns. Without one the type parameter is believed, and the handler gets what JSON makes
 * of it (a Date becomes a string). So is a second type parameter, for what the handler returns; with a
 * `resultSchema` results are checked as they are awaited, and `result()` resolves to what that returns.
 *
 * Declaring touches no database; the first use of the queue in a process creates or alters it there.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID, HOWDAH_OPTION_INVALID
 */
export function queue<
  const Name extends string,
  S extends StandardSchema,
  Result = Json,
  Returned = Result,
>(
  name: Name,
  options: QueueOptions & {
    readonly schema: S;
    readonly resultSchema?: StandardSchema<Returned, Result>;
  },
): Queue<Name, SchemaInput<S>, SchemaOutput<S>, Result, Returned>;
export function queue<Payload = unknown, Result = Json, Returned = Result>(
  name: string,
  options?: QueueOptions & {
    readonly schema?: undefined;
    readonly resultSchema?: StandardSchema<Returned, Result>;
  },
): Queue<string, Payload, Jsonified<Payload>, Result, Returned>;
export function queue(name: string, options: QueueOptions & Schemas = {}): Queue {
  assertQueueName(name);
  if (typeof options !== 'object' || options === null) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', `Queue ${name}: the options are not an object.`);
  }
  const { schema, resultSchema, priority = 0, deadLetterQueue: target, ...rest } = options;
  const deadLetterQueue = typeof target === 'string' ? queue(target) : target;
  const policy: QueuePolicy = Object.freeze({
    ...rest,
    ...(deadLetterQueue ? { deadLetterQueue: deadLetterQueue.name } : {}),
  });
  assertPriority(priority);
  encodePolicy(policy);
  if (policy.deadLetterQueue === name) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', `Queue ${name} is its own deadLetterQueue.`, {
      details: { option: 'deadLetterQueue', value: name },
      remedy: "Name another queue; the default is 'dead-letters'.",
    });
  }
  assertSchema('schema', schema);
  assertSchema('resultSchema', resultSchema);
  return Object.freeze({
    name,
    policy,
    priority,
    ...(schema ? { schema } : {}),
    ...(resultSchema ? { resultSchema } : {}),
    ...(deadLetterQueue ? { deadLetterQueue } : {}),
  });
}

interface Schemas {
  readonly schema?: StandardSchema | undefined;
  readonly resultSchema?: StandardSchema<unknown, unknown> | undefined;
}

function assertSchema(option: keyof Schemas, schema: unknown): void {
  if (schema === undefined || isStandardSchema(schema)) return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', `Option ${option} is not a Standard Schema.`, {
    details: { option },
    remedy: 'Use Zod 3.24+, Valibot 1+, ArkType 2+ or see https://standardschema.dev.',
  });
}

/** The policy of a declared queue as the SQL functions take it: only the keys that it names. */
export function toPolicy(definition: AnyQueue): SqlPolicy {
  return encodePolicy(definition.policy);
}

/**
 * The name of a queue given as a declaration or by name.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID
 */
export function nameOf(target: AnyQueue | string): string {
  if (typeof target === 'object' && target !== null && typeof target.policy !== 'object') {
    throw new HowdahError(
      'HOWDAH_QUEUE_NAME_INVALID',
      `Argument queue: ${describeValue(target)} is neither a name nor a declared queue.`,
      { details: { option: 'queue' }, remedy: "Give its name, or what queue('name') returned." },
    );
  }
  const name: unknown = typeof target === 'object' && target !== null ? target.name : target;
  assertQueueName(name);
  return name;
}

/**
 * As {@link nameOf}, or a name with `*`, which means all queues that fit.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID
 */
export function namesOf(target: AnyQueue | string): string {
  if (typeof target !== 'string') return nameOf(target);
  assertQueueNames(target);
  return target;
}

/** @throws HowdahError HOWDAH_PRIORITY_INVALID */
export function assertPriority(priority: unknown): asserts priority is number {
  if (Number.isInteger(priority) && Math.abs(priority as number) <= 100) return;
  throw new HowdahError(
    'HOWDAH_PRIORITY_INVALID',
    `Priority ${describeValue(priority)} is not valid.`,
    {
      details: { value: priority },
      remedy: 'Use a whole number from -100 to 100; higher runs first.',
    },
  );
}
