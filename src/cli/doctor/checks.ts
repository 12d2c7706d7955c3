import { randomBytes } from 'node:crypto';
import { HowdahError } from '../../core/errors.js';
import {
  hiddenJob,
  jobsTableFacts,
  leaseFacts,
  leftBehind,
  notify,
  oldestSnapshot,
  strangerIn,
} from '../../db/calls/diagnose.js';
import { remedyFor } from '../../db/migrate/schema-trust.js';
import { isMovable } from '../../db/testing/test-clock.js';
import { showCount, showMs } from '../terminal-text.js';
import { type Check, type Finding, fail, ok, type Patient, warn } from './check.js';

const VERSION_MIN = 140_000;
const VERSION_TESTED_MAX = 190_000;
const LISTEN_MS = 2_000;
const CLOCK_OFFSET_MS = 2_000;
const ROUND_TRIP_MS = 20;
const SNAPSHOT_AGE_MS = 600_000;
const LEASE_OVERDUE_MS = 60_000;
const HOT_SHARE = 0.9;
const UPDATES_MIN = 10_000;

/** In the order in which they are reported. */
export const CHECKS: readonly Check[] = [
  { name: 'version', run: version },
  { name: 'encoding', run: encoding },
  { name: 'tls', run: tls },
  { name: 'latency', run: latency },
  { name: 'clock', run: clock },
  { name: 'rights', run: rights },
  { name: 'ownership', run: ownership },
  { name: 'schema', run: schema },
  { name: 'test-clock', needsSchema: true, run: testClock },
  { name: 'listen', run: listen },
  { name: 'workers', needsSchema: true, run: workers },
  { name: 'snapshots', run: snapshots },
  { name: 'restores', needsSchema: true, run: restores },
  { name: 'floors', needsSchema: true, run: floors },
  { name: 'hot-updates', needsSchema: true, run: hotUpdates },
  { name: 'autovacuum', run: autovacuum },
];

function version({ facts }: Patient): Finding {
  const { versionNumber, version: text } = facts;
  if (versionNumber < VERSION_MIN) {
    return fail(`PostgreSQL ${text} is too old`, 'Use PostgreSQL 14 to 18.');
  }
  if (versionNumber >= VERSION_TESTED_MAX) {
    return warn(`PostgreSQL ${text} is newer than Howdah was tested with`, 'Tested are 14 to 18.');
  }
  return ok(`PostgreSQL ${text}`);
}

function encoding({ facts }: Patient): Finding {
  if (facts.encoding === 'UTF8') return ok('the database is encoded in UTF8');
  return warn(
    `the database is encoded in ${facts.encoding}, which not every payload fits`,
    'Jobs with other characters are refused with HOWDAH_PAYLOAD_INVALID; use a database WITH ENCODING UTF8.',
  );
}

function tls({ facts }: Patient): Finding {
  if (facts.tls !== null) return ok(`the connection uses ${facts.tls}`);
  if (facts.isLocal) return ok('no TLS, on the same machine');
  return warn(
    'the connection is not encrypted',
    'Add sslmode=verify-full to the URL and have the server use a certificate.',
  );
}

function latency({ roundTripMs }: Patient): Finding {
  const text = `a round trip takes ${showMs(Math.max(1, roundTripMs))}`;
  if (roundTripMs <= ROUND_TRIP_MS) return ok(text);
  return warn(text, 'Run workers near the database: each claim and settle waits so long.');
}

function clock({ clockOffsetMs }: Patient): Finding {
  const ms = Math.abs(clockOffsetMs);
  const text = `the clocks differ by ${showMs(ms)}`;
  if (ms <= CLOCK_OFFSET_MS) return ok(text);
  return warn(
    `${text}; the database's is the one that counts`,
    'Synchronise them (NTP), or give delays instead of times.',
  );
}

function rights({ facts }: Patient): Finding {
  const { role, database, canCreate, hasSchema } = facts;
  if (canCreate) return ok(`${role} may create schemas in ${database}`);
  if (hasSchema) return ok(`${role} may not create schemas in ${database}, where one is installed`);
  return fail(
    `${role} may not create a schema in ${database}`,
    `GRANT CREATE ON DATABASE ${database} TO ${role}, or migrate as another role.`,
  );
}

/** What others can put there runs with the rights of its owner, or of whoever looks: so nothing there is called. */
async function ownership({ database }: Patient): Promise<Finding> {
  const { schema: name } = database;
  const problem = await strangerIn(database, name);
  if (problem !== undefined) return fail(`schema ${name} is not safe: ${problem}`, remedyFor(name));
  return ok(`nobody but its owner creates in schema ${name}`);
}

async function schema({ database }: Patient): Promise<Finding> {
  try {
    await database.assertVersion();
    return ok(`schema ${database.schema} is up to date`);
  } catch (error) {
    if (!(error instanceof HowdahError)) throw error;
    if (error.code === 'HOWDAH_SCHEMA_MISSING') {
      return fail(`schema ${database.schema} is not installed`, 'Run `howdah migrate`.');
    }
    const remedy = error.remedy ?? 'See the message.';
    return fail(error.message.replace(` ${remedy}`, ''), remedy);
  }
}

async function testClock({ database }: Patient): Promise<Finding> {
  const { schema: name } = database;
  if (!(await isMovable(database))) return ok(`nothing moves the clock of schema ${name}`);
  return warn(`tests may move the clock of schema ${name}`, 'Use it for nothing but tests.');
}

/** Through a transaction pooler LISTEN succeeds and delivers nothing: only trying tells. */
async function listen({ database }: Patient): Promise<Finding> {
  const session = await database.connect('doctor');
  const channel = `howdah_doctor_${randomBytes(8).toString('hex')}`;
  const remedy = 'Give workers directUrl, a URL of the server itself; until then they poll.';
  try {
    if (session.isPooled) return warn('a transaction pooler swallows notifications', remedy);
    let timer: NodeJS.Timeout | undefined;
    const heard = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), LISTEN_MS);
      session
        .listen(channel, () => resolve(true))
        .then(
          () => notify(session, channel, '').catch(() => resolve(false)),
          () => resolve(false),
        );
    });
    const isHeard = await heard;
    clearTimeout(timer);
    return isHeard ? ok('notifications arrive') : warn('notifications do not arrive', remedy);
  } finally {
    await session.close();
  }
}

async function workers({ database }: Patient): Promise<Finding> {
  const { alive, expired, oldestMs, hasLeader } = await leaseFacts(database, (text) =>
    database.sql(text),
  );
  const remedy = 'Run a worker that maintains: `howdah work` without --no-maintain.';
  if (expired > 0 && (oldestMs ?? 0) > LEASE_OVERDUE_MS) {
    return fail(
      `${expired} leases have expired, one ${showMs(oldestMs ?? 0)} ago, and nobody requeues their jobs`,
      remedy,
    );
  }
  if (alive === 0) return warn('no worker is running', 'Start one with `howdah work`.');
  if (!hasLeader) return warn(`${alive} workers, but none leads`, remedy);
  return ok(`${alive} workers are alive, one of them leads`);
}

async function snapshots({ database }: Patient): Promise<Finding> {
  const oldest = await oldestSnapshot(database);
  if (!oldest) return ok('no transaction holds back vacuum');
  const { holder, ageMs } = oldest;
  const age = ageMs === null ? `${showCount(oldest.xids)} transactions` : showMs(ageMs);
  if (ageMs !== null && ageMs < SNAPSHOT_AGE_MS) return ok(`the oldest snapshot is of ${age} ago`);
  return warn(
    `${holder} holds back vacuum since ${age}`,
    'End it: dead rows pile up meanwhile, which costs disk (Howdah stays quick).',
  );
}

async function restores({ database }: Patient): Promise<Finding> {
  const found = await leftBehind(database, (text) => database.sql(text));
  if (found.length === 0) return ok('no sequence lies behind its table, no row is missing');
  return fail(
    `after a restore or a switch-over: ${found.join('; ')}`,
    'Run `howdah migrate`: it mends them.',
  );
}

async function floors({ database }: Patient): Promise<Finding> {
  const job = await hiddenJob(database, (text) => database.sql(text));
  if (!job) return ok('claims begin before every ready job');
  return fail(
    `job ${job.id} of queue ${job.queue} is ready, but lies below the floor of its lane: no claim finds it`,
    `DELETE FROM ${database.schema}._lane_floors (they are made again), and report it: it must not happen.`,
  );
}

async function hotUpdates({ database }: Patient): Promise<Finding> {
  const facts = await jobsTableFacts(database, database.schema);
  if (!facts || facts.updates < UPDATES_MIN) return ok('too few updates yet to tell');
  const share = facts.hotUpdates / facts.updates;
  const text = `${(share * 100).toFixed(1)} % of ${showCount(facts.updates)} updates are HOT`;
  if (share >= HOT_SHARE) return ok(text);
  return warn(text, 'Look for indexes or triggers that were added to the jobs table.');
}

async function autovacuum({ database, facts }: Patient): Promise<Finding> {
  if (!facts.isAutovacuumOn) return fail('autovacuum is off', 'ALTER SYSTEM SET autovacuum = on.');
  const table = facts.hasSchema ? await jobsTableFacts(database, database.schema) : undefined;
  if (table?.isAutovacuumOff) {
    return fail(
      'autovacuum is off for the jobs table',
      'ALTER TABLE ... RESET (autovacuum_enabled).',
    );
  }
  return ok('autovacuum is on');
}
