// Enqueues in every way there is and writes down what it was told: node producer.mjs '<settings>'.
// A line before each operation and one after it, so that the log survives whatever happens.
import { openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTransaction, openPool } from './database.mjs';
import { randomOf } from './random.mjs';

const { url, dist, index, seed, loops, pauseMs, logFile, dedupeKeys } = JSON.parse(process.argv[2]);
const { createClient } = await import(dist);

/** Numbers of one producer begin here; none is used twice. */
const FIRST = index * 1_000_000_000;
const GROUPS_A_LOOP = 2;
const BULK = 20;

const log = openSync(logFile, 'a');
const client = createClient({ url, connectionsMax: loops + 2 });
const pool = openPool(url, 'torture producer', loops);

let last = FIRST;
let isStopped = false;

const say = (line) => writeSync(log, `${JSON.stringify(line)}\n`);

/** Logs the operation, runs it, logs how it ended. */
async function attempt(facts, run) {
  const ns = facts.ns ?? [facts.n];
  say({ phase: 'sent', ...facts, ns });
  try {
    say({ phase: 'ok', ns, ...(await run()) });
  } catch (error) {
    say({ phase: 'failed', ns, code: error.code ?? error.name, message: String(error.message) });
  }
}

const number = () => {
  last += 1;
  return last;
};

const what = (random) => (random() < 0.15 ? 'flaky' : random() < 0.1 ? 'slow' : 'quick');

/** Each takes the loop's chance and its groups. */
const OPERATIONS = {
  plain: async (random) => {
    const n = number();
    const queue = random() < 0.5 ? 'effects' : 'notes';
    const verb = queue === 'notes' && random() < 0.08 ? 'long' : what(random);
    await attempt({ op: 'plain', n, queue }, () =>
      client.enqueue(queue, { n, do: verb }).then(idOf),
    );
  },
  async bulk(random) {
    const ns = Array.from({ length: BULK }, number);
    const queue = random() < 0.5 ? 'effects' : 'notes';
    const payloads = ns.map((n) => ({ n, do: 'quick' }));
    await attempt({ op: 'bulk', ns, queue }, async () => {
      await client.enqueueMany(queue, payloads);
      return {};
    });
  },
  async commit(random) {
    const n = number();
    await attempt({ op: 'commit', n, queue: 'effects' }, () =>
      withOrder(n, random, (tx) => tx.query('commit')),
    );
  },
  async rollback(random) {
    const n = number();
    await attempt({ op: 'rollback', n, queue: 'effects' }, () =>
      withOrder(n, random, (tx) => tx.query('rollback')),
    );
  },
  async dedupe(random) {
    const n = number();
    const key = `key-${Math.floor(random() * dedupeKeys)}`;
    await attempt({ op: 'dedupe', n, key, queue: 'effects' }, () =>
      client
        .enqueue('effects', { n, do: 'quick' }, { dedupe: { key, window: '1h' } })
        .then(({ id, created }) => ({ id, created })),
    );
  },
  async group(random, groups) {
    const n = number();
    const group = groups[Math.floor(random() * groups.length)];
    await attempt({ op: 'group', n, group, queue: 'groups' }, () =>
      client.enqueue('groups', { n, do: what(random) }, { group }).then(idOf),
    );
  },
  async delayed(random) {
    const n = number();
    const delayMs = 200 + Math.floor(random() * 2_800);
    await attempt({ op: 'delayed', n, delayMs, queue: 'effects' }, () =>
      client.enqueue('effects', { n, do: 'quick', delayMs }, { delay: delayMs }).then(idOf),
    );
  },
  async poison() {
    const n = number();
    await attempt({ op: 'poison', n, queue: 'poison' }, () =>
      client.enqueue('poison', { n, do: 'poison' }).then(idOf),
    );
  },
};

const WEIGHTS = {
  plain: 34,
  bulk: 4,
  commit: 14,
  rollback: 10,
  dedupe: 12,
  group: 14,
  delayed: 8,
  poison: 4,
};
const DECK = Object.entries(WEIGHTS).flatMap(([op, weight]) => Array(weight).fill(op));

function idOf({ id }) {
  return { id };
}

/** A row of the application and a job in one transaction, which may be held open for a while. */
function withOrder(n, random, end) {
  const holdMs = random() < 0.1 ? 2_500 : random() < 0.3 ? 50 : 0;
  return inTransaction(pool, async (tx) => {
    await tx.query('insert into public.orders (n) values ($1)', [n]);
    const { id } = await client.enqueue('effects', { n, do: what(random) }, { tx });
    if (holdMs > 0) await sleep(holdMs);
    await end(tx);
    return { id };
  });
}

async function loop(number) {
  const random = randomOf(seed * 1_000 + number);
  const groups = Array.from({ length: GROUPS_A_LOOP }, (_, i) => `g-${index}-${number}-${i}`);
  while (!isStopped) {
    await OPERATIONS[DECK[Math.floor(random() * DECK.length)]](random, groups);
    await sleep(pauseMs * (0.5 + random()));
  }
}

process.once('SIGTERM', () => {
  isStopped = true;
});
await Promise.all(Array.from({ length: loops }, (_, number) => loop(number)));
await client.close();
await pool.end();
process.exit(0);
