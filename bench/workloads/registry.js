// A workload is one file with a name, a title, `run(context)` that resolves to metrics, the columns of
// its table, and the goals it is judged by. `takes(name, contender)` says who can take part; `isLong`
// leaves it out of a --quick run that does not name it.
import claimCost from './claim-cost.js';
import delayed from './delayed.js';
import drain from './drain.js';
import enqueueBulk from './enqueue-bulk.js';
import enqueueOne from './enqueue-one.js';
import enqueueSixteen from './enqueue-sixteen.js';
import enqueueTransaction from './enqueue-transaction.js';
import groups from './groups.js';
import heldSnapshot from './held-snapshot.js';
import idleLatency from './idle-latency.js';
import memoryStream from './memory-stream.js';
import memoryWorker from './memory-worker.js';
import schedules from './schedules.js';
import steady from './steady.js';

export const WORKLOADS = [
  drain,
  heldSnapshot,
  idleLatency,
  steady,
  enqueueOne,
  enqueueTransaction,
  enqueueSixteen,
  enqueueBulk,
  delayed,
  groups,
  claimCost,
  schedules,
  memoryWorker,
  memoryStream,
];
