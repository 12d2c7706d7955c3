import { HowdahError } from '../core/errors.js';
import type { Statement } from './executor.js';

/**
 * An argument of a function of ours that sets, for this statement alone, how long it waits for each lock. It takes no
 * round trip, sets nothing that stays on a connection of the application's, and passes any pooler.
 * @param argument with its type: `$1::text`
 * @param place number of the parameter that says how many milliseconds
 */
export function patient(argument: string, place: number): string {
  const set = `pg_catalog.set_config('lock_timeout', $${place}::integer::text, true)`;
  return `(select ${argument} from ${set})`;
}

/**
 * The statement with one more parameter, the last: how many milliseconds it waits for each lock. Its first is an
 * argument of a function of ours, text or with its type.
 * @param parameters how many it has without
 */
export function makePatient({ text, name, rowMode }: Statement, parameters: number): Statement {
  return {
    text: text.replace(/\$1(?!\d)(::[a-z]+(\[\])?)*/, (argument) =>
      patient(argument, parameters + 1),
    ),
    ...(name !== undefined && { name: `${name}_held` }),
    ...(rowMode && { rowMode }),
  };
}

/** Whether a lock was not to be had in time: somebody's transaction has it. The statement was undone. */
export function isHeld(error: unknown): error is HowdahError {
  return error instanceof HowdahError && error.details.sqlstate === '55P03';
}

/** What an enqueue waits for. */
export type HeldKind = 'group' | 'dedupe' | 'batch';

/**
 * What was held, by the function that waited: names of functions are never translated.
 * @returns nothing where it does not say
 */
export function heldKindOf(error: HowdahError): HeldKind | undefined {
  const { where } = (error.cause ?? {}) as { where?: unknown };
  if (typeof where !== 'string') return undefined;
  if (where.includes('_batch_problem(')) return 'batch';
  if (where.includes('_lock_keys(')) return 'dedupe';
  return where.includes('_change_groups(') ? 'group' : undefined;
}
