import { deadlock, lockedTable, lockTimeout, noSlots, statementTimeout } from './database.js';
import { fullDisk } from './full-disk.js';
import type { Nemesis } from './nemesis.js';
import {
  cutNetwork,
  deafNetwork,
  halfOpen,
  lateSettle,
  lostReply,
  slowNetwork,
} from './network.js';
import { killBackend, killServer, stopServer, terminate } from './server.js';
import { killerJob, killWorker, restartWorker, zombie } from './workers.js';

export const NEMESES: readonly Nemesis[] = [
  killWorker,
  zombie,
  restartWorker,
  killerJob,
  killServer,
  stopServer,
  killBackend,
  terminate,
  slowNetwork,
  cutNetwork,
  halfOpen,
  lateSettle,
  lostReply,
  deafNetwork,
  noSlots,
  lockedTable,
  lockTimeout,
  statementTimeout,
  deadlock,
  fullDisk,
];
