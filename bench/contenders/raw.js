// What PostgreSQL itself allows on this machine: bare `pg`, no retries, no fences, no leases. A claim
// looks forward from a cursor and touches no index; jobs are deleted in batches on a second connection.
import pg from 'pg';
import { chunks, versionOf } from './registry.js';

const BATCH = 500;
const SCHEMA = `
  create sequence if not exists raw_seq;
  create table if not exists raw_jobs (
    id bigint primary key generated always as identity, queue_id int not null default 1,
    priority smallint not null default 0, seq bigint default nextval('raw_seq'), run_at timestamptz,
    lease_id bigint, attempt smallint not null default 0, payload jsonb not null
  ) with (fillfactor = 45);
  create index if not exists raw_claim on raw_jobs (queue_id, priority, seq) where seq is not null;`;
const INSERT = { name: 'insert', text: 'insert into raw_jobs (payload) values ($1)' };
const INSERT_DUE = {
  name: 'insert_due',
  text: 'insert into raw_jobs (payload, seq, run_at) values ($1, null, $2)',
};
const INSERT_RING = {
  name: 'insert_ring',
  text: `with inserted as (insert into raw_jobs (payload) values ($1))
    select pg_notify('raw_jobs', '')`,
};
const INSERT_MANY = {
  name: 'insert_many',
  text: 'insert into raw_jobs (payload) select unnest($1::text[])::jsonb',
};
const CLAIM = {
  name: 'claim',
  text: `update raw_jobs j set lease_id = 1, attempt = attempt + 1 where j.ctid = any (array(
    select ctid from raw_jobs where queue_id = 1 and priority = 0 and seq is not null and seq > $1
      and lease_id is null order by seq limit ${BATCH} for update skip locked))
    returning j.id, j.seq, j.payload`,
};
const CLAIM_ONE = { name: 'claim_one', text: CLAIM.text.replace(`limit ${BATCH}`, 'limit 1') };
const PROMOTE = {
  name: 'promote',
  text: "update raw_jobs set seq = nextval('raw_seq') where seq is null and run_at <= now()",
};
const FINISH = { name: 'finish', text: 'delete from raw_jobs where id = any ($1::bigint[])' };

export function create() {
  let url;
  let pool;
  let worker;
  return {
    describe: async () => `bare pg ${await versionOf('pg')} {"batch":${BATCH}}`,
    async setup(connectionString) {
      url = connectionString;
      pool = new pg.Pool({ connectionString, max: 16 });
      await pool.query(SCHEMA);
    },
    // The bare insert; with a NOTIFY only where the workload says that somebody sleeps.
    async enqueueOne(payload, { runAt, ring } = {}) {
      const text = JSON.stringify(payload);
      if (runAt) await pool.query({ ...INSERT_DUE, values: [text, runAt] });
      else await pool.query({ ...(ring ? INSERT_RING : INSERT), values: [text] });
    },
    async enqueueMany(payloads) {
      for (const chunk of chunks(payloads, 1000)) {
        const texts = chunk.map((payload) => JSON.stringify(payload));
        await pool.query({ ...INSERT_MANY, values: [texts] });
      }
    },
    enqueueInTransaction: (client, payload) =>
      client.query({ ...INSERT, values: [JSON.stringify(payload)] }),
    async startWorker(handler, _concurrency, { isStrict } = {}) {
      worker = await (isStrict ? startStrictLoop(url, handler) : startLoops(url, handler));
    },
    async unfinished() {
      const { rows } = await pool.query('select count(*)::int as n from raw_jobs');
      return rows[0].n;
    },
    async stop() {
      await worker?.stop();
      await pool.end();
    },
  };
}

/** One job at a time, in order: claimed, run, deleted. */
async function startStrictLoop(connectionString, handler) {
  const claims = new pg.Client(connectionString);
  const acks = new pg.Client(connectionString);
  await Promise.all([claims.connect(), acks.connect()]);
  await claims.query('set synchronous_commit = off; set enable_seqscan = off');
  let stopping = false;
  const loop = (async () => {
    let cursor = 0;
    while (!stopping) {
      const { rows } = await claims.query({ ...CLAIM_ONE, values: [cursor] });
      const [row] = rows;
      if (row) {
        await handler(row.payload);
        await acks.query({ ...FINISH, values: [[row.id]] });
        cursor = row.seq;
      } else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return {
    async stop() {
      stopping = true;
      await loop;
      await Promise.all([claims.end(), acks.end()]);
    },
  };
}

/** Two loops on two connections: one claims and runs, the other deletes what is done. */
async function startLoops(connectionString, handler) {
  const claims = new pg.Client(connectionString);
  const acks = new pg.Client(connectionString);
  await Promise.all([claims.connect(), acks.connect()]);
  const bell = new Bell();
  const done = new Bell();
  claims.on('notification', () => bell.ring());
  await claims.query('set synchronous_commit = off; set enable_seqscan = off');
  await claims.query('listen raw_jobs');
  let finished = [];
  let stopping = false;

  const claiming = (async () => {
    let cursor = 0;
    while (!stopping) {
      const { rows } = await claims.query({ ...CLAIM, values: [cursor] });
      for (const row of rows) {
        cursor = Math.max(cursor, Number(row.seq));
        await handler(row.payload);
        finished.push(row.id);
      }
      done.ring();
      if (rows.length === BATCH) continue;
      cursor = 0; // late commits lie behind the cursor
      if (rows.length === 0) {
        await claims.query(PROMOTE);
        await bell.wait(50);
      }
    }
  })();
  const acking = (async () => {
    while (!stopping || finished.length > 0) {
      const ids = finished;
      finished = [];
      if (ids.length > 0) await acks.query({ ...FINISH, values: [ids] });
      else await done.wait(1000);
    }
  })();
  return {
    async stop() {
      stopping = true;
      bell.ring();
      await claiming;
      done.ring();
      await acking;
      await Promise.all([claims.end(), acks.end()]);
    },
  };
}

/** Remembers one ring; waiting takes it. */
class Bell {
  #rung = false;
  #wake = () => {};
  ring() {
    this.#rung = true;
    this.#wake();
  }
  async wait(ms) {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers();
      this.#wake = resolve;
      const timer = setTimeout(resolve, ms);
      await promise;
      clearTimeout(timer);
    }
    this.#rung = false;
  }
}
