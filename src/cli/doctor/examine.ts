import { serverFacts } from '../../db/calls/diagnose.js';
import type { Database } from '../../db/database.js';
import { describeError } from '../report-error.js';
import type { Finding, Patient } from './check.js';
import { CHECKS } from './checks.js';

/** A finding with the name of its check. */
interface Diagnosis extends Finding {
  readonly check: string;
}

/** Where one of them fails, nothing in the schema is called. */
const TELLS_SCHEMA = new Set(['ownership', 'schema']);

/** Runs all checks. Where there is no connection, that is the only finding. */
export async function examine(database: Database): Promise<Diagnosis[]> {
  let patient: Patient;
  try {
    patient = await meet(database);
  } catch (error) {
    const [detail = '', remedy = 'See --url and HOWDAH_DATABASE_URL.'] = describeError(error, false)
      .replace(/^error /, '')
      .split('\n  ');
    return [{ check: 'connection', result: 'fail', detail, remedy }];
  }
  const { database: name, role } = patient.facts;
  const found: Diagnosis[] = [
    { check: 'connection', result: 'ok', detail: `to ${name} as ${role}` },
  ];
  let hasSchema = true;
  for (const { name: check, needsSchema, run } of CHECKS) {
    if ((needsSchema || check === 'schema') && !hasSchema) continue;
    const finding = await attempt(() => run(patient));
    if (TELLS_SCHEMA.has(check) && finding.result === 'fail') hasSchema = false;
    found.push({ check, ...finding });
  }
  return found;
}

async function meet(database: Database): Promise<Patient> {
  await serverFacts(database, database.schema); // connects
  const before = Date.now();
  const start = performance.now();
  const facts = await serverFacts(database, database.schema);
  const roundTripMs = performance.now() - start;
  const clockOffsetMs = before + roundTripMs / 2 - facts.nowMs;
  return { database, facts, clockOffsetMs, roundTripMs };
}

async function attempt(run: () => Finding | Promise<Finding>): Promise<Finding> {
  try {
    return await run();
  } catch (error) {
    const [detail = '', remedy = 'See the message.'] = describeError(error, false)
      .replace(/^error /, '')
      .split('\n  ');
    return { result: 'fail', detail, remedy };
  }
}
