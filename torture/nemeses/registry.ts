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
import { openTransaction } from './open-transaction.js';
import { pooler } from './pooler.js';
import { killBackend, killServer, losePrimary, stopServer, terminate } from './server.js';
import { changedSettings } from './settings.js';
import { killerJob, killWorker, otherBuild, restartWorker, zombie } from './workers.js';

export const NEMESES: readonly Nemesis[] = [
  killWorker,
  zombie,
  restartWorker,
  killerJob,
  otherBuild,
  killServer,
  stopServer,
  killBackend,
  losePrimary,
  terminate,
  slowNetwork,
  cutNetwork,
  halfOpen,
  lateSettle,
  lostReply,
  deafNetwork,
  pooler,
  noSlots,
  lockedTable,
  lockTimeout,
  statementTimeout,
  deadlock,
  openTransaction,
  changedSettings,
  fullDisk,
];
