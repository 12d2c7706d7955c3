import type { ServerFacts } from '../../db/calls/diagnose.js';
import type { Database } from '../../db/database.js';

/** What a check found. */
export interface Finding {
  readonly result: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** What checks look at. */
export interface Patient {
  readonly database: Database;
  readonly facts: ServerFacts;
  /** Our clock less the database's, in milliseconds; the way there and back is taken out. */
  readonly clockOffsetMs: number;
  readonly roundTripMs: number;
}

/** One question about an installation. */
export interface Check {
  readonly name: string;
  /** Is asked only where the schema is installed. */
  readonly needsSchema?: boolean;
  run(patient: Patient): Finding | Promise<Finding>;
}

export function ok(detail: string): Finding {
  return { result: 'ok', detail };
}

export function warn(detail: string, remedy: string): Finding {
  return { result: 'warn', detail, remedy };
}

export function fail(detail: string, remedy: string): Finding {
  return { result: 'fail', detail, remedy };
}
