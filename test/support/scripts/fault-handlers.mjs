// What the jobs of the fault tests do. A payload is { do, again?, ms?, gate? }: `do` at the first
// attempt, `again` (default: done) at every later one; a gate is a file whose existence opens it.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { cancelJob, deadLetter, release, snooze } from 'howdah';
import pg from 'pg';

const LOOK_MS = 5;

/** What the handler of a batch says of a job, by the job's wish. */
const ENTRIES = {
  complete: () => ({ pid: process.pid }),
  nothing: () => undefined,
  fail: () => new Error('failed by the batch'),
  snooze: () => snooze('1h'),
  release: () => release(),
  deadLetter: () => deadLetter('by the batch'),
  cancel: () => cancelJob('by the batch'),
};

/** Runs and effects are counted in tables of the test. */
export function makeHandlers(url, extra) {
  const pool = new Pools(url);
  const verbs = { ...plainVerbs(), ...effectVerbs(pool), ...extra };

  async function handle(job, context) {
    const { payload, attempt } = job;
    const verb = attempt === 1 ? payload.do : (payload.again ?? 'done');
    if (!payload.isQuiet) await noteRuns(pool, [job]);
    return verbs[verb](job, context);
  }

  async function handleBatch(jobs) {
    await noteRuns(pool, jobs);
    const [{ payload }] = jobs;
    if (payload.how === 'block') block(payload.gate);
    return jobs.map((job) => ENTRIES[job.payload.entry]());
  }

  return { handle, handleBatch };
}

function plainVerbs() {
  return {
    done: ({ attempt }) => ({ pid: process.pid, attempt }),
    async hold({ payload, attempt }) {
      await opened(payload.gate);
      return { pid: process.pid, attempt };
    },
    async holdThenThrow({ payload }) {
      await opened(payload.gate);
      throw new Error('after the gate');
    },
    async holdUntilAborted({ payload }, { signal }) {
      await opened(payload.gate, signal);
      signal.throwIfAborted();
    },
    block({ payload, attempt }) {
      const blockedMs = block(payload.gate, payload.ms);
      return { pid: process.pid, attempt, blockedMs };
    },
    /** Its loop turns before it answers: the time-out can be noticed. */
    async blockThenTurn({ payload }) {
      block(payload.gate, payload.ms);
      await sleep(LOOK_MS);
      return 'in time';
    },
  };
}

function effectVerbs(pool) {
  const effect = (before) => (job, context) =>
    inTransaction(pool, async (tx) => {
      await insertEffect(tx, job);
      await before(job.payload);
      await context.completeIn(tx, { pid: process.pid, attempt: job.attempt });
    });
  return {
    effect: effect(({ ms = 0 }) => (ms > 0 ? sleep(ms) : undefined)),
    effectHeld: effect(({ gate }) => opened(gate)),
    effectBlocked: effect(({ gate }) => block(gate)),
    /** For a transactional binding. */
    async effectInTx(job, { tx }) {
      await insertEffect(tx, job);
      return { pid: process.pid, attempt: job.attempt };
    },
    /** The same; its process dies when the handler has returned and nothing is committed. */
    async effectThenKilled(job, { tx }) {
      await insertEffect(tx, job);
      return { toJSON: () => process.kill(process.pid, 'SIGKILL') };
    },
  };
}

async function insertEffect(tx, { id, attempt }) {
  await tx.query('insert into effects (job_id, attempt, pid) values ($1, $2, $3)', [
    id,
    attempt,
    process.pid,
  ]);
}

/** One pool a host of the URL; after a failure the next one is used. */
class Pools {
  #turn = 0;

  constructor(url) {
    const [all, hosts] = /@([^/]*)/.exec(url);
    this.pools = hosts.split(',').map((host) => {
      const pool = new pg.Pool({
        connectionString: url.replace(all, `@${host}`),
        max: 20,
        application_name: 'fault handlers',
        // a server that dies while it answers a connect would keep the handler waiting for ever
        connectionTimeoutMillis: 3_000,
        query_timeout: 10_000,
      });
      // a connection may break in the very moment it is handed out
      pool.on('connect', (client) => client.on('error', ignore));
      return pool.on('error', ignore);
    });
  }

  get current() {
    return this.pools[this.#turn % this.pools.length];
  }

  failed() {
    this.#turn += 1;
  }
}

async function noteRuns(pool, jobs) {
  await pool.current.query(
    'insert into runs (job_id, attempt, pid) select id, attempt, $3 from unnest($1::bigint[], $2::int[]) r (id, attempt)',
    [jobs.map(({ id }) => id), jobs.map(({ attempt }) => attempt), process.pid],
  );
}

async function inTransaction(pool, run) {
  const tx = await pool.current.connect().catch((error) => {
    pool.failed();
    throw error;
  });
  let broken;
  try {
    await tx.query('begin');
    await run(tx);
    await tx.query('commit');
  } catch (error) {
    pool.failed();
    await tx.query('rollback').catch((reason) => {
      broken = reason;
    });
    throw error;
  } finally {
    tx.release(broken);
  }
}

function ignore() {}

async function opened(gate, signal) {
  while (!existsSync(gate) && !signal?.aborted) await sleep(LOOK_MS);
  process.stdout.write('{"type":"opened"}\n');
}

/** Keeps the event loop until the gate opens, or so long. */
function block(gate, ms = Number.POSITIVE_INFINITY) {
  process.stdout.write('{"type":"blocking"}\n');
  const begun = performance.now();
  const cell = new Int32Array(new SharedArrayBuffer(4));
  while (performance.now() - begun < ms && !(gate && existsSync(gate))) {
    Atomics.wait(cell, 0, 0, LOOK_MS);
  }
  return performance.now() - begun;
}
