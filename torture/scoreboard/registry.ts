import type { Subject } from './subject.js';
import { bystander } from './subjects/bystander.js';
import { claimPlan } from './subjects/claim-plan.js';
import { deaf } from './subjects/deaf.js';
import { fullQueue } from './subjects/full-queue.js';
import { heldSnapshot } from './subjects/held-snapshot.js';
import { hostile } from './subjects/hostile.js';
import { interleavings } from './subjects/interleavings.js';
import { killedServer } from './subjects/killed-server.js';
import { killedWorkers } from './subjects/killed-workers.js';
import { liveHolders } from './subjects/live-holders.js';
import { lostReplies } from './subjects/lost-replies.js';
import { migrations } from './subjects/migrations.js';
import { noNotifications } from './subjects/no-notifications.js';
import { oneKey } from './subjects/one-key.js';
import { outage } from './subjects/outage.js';
import { poisonous } from './subjects/poisonous.js';
import { promotedLateStandby, promotedStandby } from './subjects/promoted-standby.js';
import { reaperAgainstSettle } from './subjects/reaper-against-settle.js';
import { restarts } from './subjects/restarts.js';
import { schedulers } from './subjects/schedulers.js';
import { shortages } from './subjects/shortages.js';
import { soaked } from './subjects/soaked.js';
import { storm } from './subjects/storm.js';
import { wrongClocks } from './subjects/wrong-clocks.js';
import { zombies } from './subjects/zombies.js';

/** Everything that is measured; the board is in the order of the ids. */
export const SUBJECTS: readonly Subject[] = [
  killedWorkers,
  zombies,
  liveHolders,
  reaperAgainstSettle,
  interleavings,
  wrongClocks,
  poisonous,
  killedServer,
  outage,
  lostReplies,
  restarts,
  promotedStandby,
  promotedLateStandby,
  deaf,
  noNotifications,
  bystander,
  heldSnapshot,
  claimPlan,
  schedulers,
  hostile,
  storm,
  oneKey,
  fullQueue,
  migrations,
  soaked,
  shortages,
];
