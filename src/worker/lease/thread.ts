// Renews the worker's lease from a thread and a connection of its own, so that a handler which blocks
// the event loop keeps its jobs until its time-out, and no longer.
import './thread-globals.js'; // before all others
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/clock.js';
import { backoffMs } from '../../core/time/backoff.js';
import { leaseCalls } from '../../db/calls/leases.js';
import type { PoolLike } from '../../db/connect/pool.js';
import { Database } from '../../db/database.js';
import type { Session } from '../../db/executor.js';
import type { LeaseMessage, LeaseThreadData, RenewMessage } from './messages.js';
import { BEAT_MS, LeaseSignals } from './signals.js';

/** The other thread renews by its own connection when this one is late: no hurry while the database is away. */
const RETRY = { min: 200, max: 10_000 };

const data = workerData as LeaseThreadData;
const { heartbeatMs, leaseMs } = data;
const signals = new LeaseSignals(data.signals);
const database = new Database(
  data.poolConfig ? { ...data.database, pool: poolOf(data.poolConfig) } : data.database,
);
const calls = leaseCalls(database);

let current: RenewMessage | undefined;
let session: Session | undefined;
let failures = 0;

parentPort?.on('message', (message: RenewMessage | undefined) => {
  current = message;
});

for (;;) {
  // A connection that cannot be made or breaks is tried again sooner than the next heartbeat.
  const waitMs = failures > 0 ? backoffMs(failures, RETRY, Math.random()) : heartbeatMs;
  await systemClock.sleep(Math.min(waitMs, heartbeatMs));
  if (current) await renew(current);
}

async function renew(lease: RenewMessage): Promise<void> {
  // Not while the loop is blocked beyond the time-out; but soon after it turns again.
  while (!signals.mayRenew(leaseMs)) await systemClock.sleep(BEAT_MS);
  try {
    session ??= await connect();
    const sentAt = signals.now();
    const { isAlive, hasAttention } = await calls.heartbeat(session, lease.leaseId);
    failures = 0;
    if (!isAlive) return post({ type: 'gone', generation: lease.generation });
    signals.renewed(lease.generation, sentAt);
    if (hasAttention) post({ type: 'attention', generation: lease.generation });
  } catch {
    failures += 1;
    const broken = session;
    session = undefined;
    await broken?.close();
  }
}

async function connect(): Promise<Session> {
  const connected = await database.connect('heartbeat', { asyncCommit: true });
  connected.onLost(() => {
    if (session === connected) session = undefined;
  });
  return connected;
}

/** Only its configuration is used: for the connection of this thread. */
function poolOf(options: object): PoolLike {
  return { options, connect: () => Promise.reject(new Error('no pool in this thread')) };
}

function post(message: LeaseMessage): void {
  parentPort?.postMessage(message);
}
