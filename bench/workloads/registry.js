// A workload is one file with a name, a title, `run(context)` that resolves to metrics, the columns of
// its table, and the goals it is judged by. `takes(name, contender)` says who can take part; `isLong`
// leaves it out of a --quick run that does not name it; `suite` is `semantics` or left out; `settings` are
// printed; `plot` names the columns to draw (default: the first, or the curves of `histogram`);
// `tracksStatements` has the server count what is sent to it.
import awaitResults from './await-results.js';
import backlog from './backlog.js';
import cancel from './cancel.js';
import claimCost from './claim-cost.js';
import costs from './costs.js';
import dedupe from './dedupe.js';
import delayed from './delayed.js';
import drain from './drain.js';
import drain16k from './drain-16k.js';
import drain200Queues from './drain-200-queues.js';
import drainProcesses from './drain-processes.js';
import enqueueBulk from './enqueue-bulk.js';
import enqueueOne from './enqueue-one.js';
import enqueueSixteen from './enqueue-sixteen.js';
import enqueueTransaction from './enqueue-transaction.js';
import fairness from './fairness.js';
import groups from './groups.js';
import groupsKilled from './groups-killed.js';
import heldSnapshot from './held-snapshot.js';
import idleLatency from './idle-latency.js';
import limitCost from './limit-cost.js';
import longPoll from './long-poll.js';
import memoryStream from './memory-stream.js';
import memoryWorker from './memory-worker.js';
import rate from './rate.js';
import refusal from './refusal.js';
import schedules from './schedules.js';
import { STEADY } from './steady.js';

const PEERS = [
  drain,
  drainProcesses,
  drain16k,
  drain200Queues,
  heldSnapshot,
  idleLatency,
  ...STEADY,
  enqueueOne,
  enqueueTransaction,
  enqueueSixteen,
  enqueueBulk,
  delayed,
  claimCost,
  backlog,
  memoryWorker,
  memoryStream,
];
const SEMANTICS = [
  groups,
  fairness,
  dedupe,
  longPoll,
  refusal,
  rate,
  limitCost,
  groupsKilled,
  schedules,
  awaitResults,
  cancel,
  costs,
];

export const WORKLOADS = [
  ...PEERS,
  ...SEMANTICS.map((workload) => ({ ...workload, suite: 'semantics' })),
];
