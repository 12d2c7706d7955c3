import type { Subject } from './subject.js';
import { deaf } from './subjects/deaf.js';
import { killedServer } from './subjects/killed-server.js';
import { killedWorkers } from './subjects/killed-workers.js';
import { lostReplies } from './subjects/lost-replies.js';
import { outage } from './subjects/outage.js';
import { poisonous } from './subjects/poisonous.js';
import { restarts } from './subjects/restarts.js';
import { zombies } from './subjects/zombies.js';

/** Everything that is measured; the board is in the order of the ids. */
export const SUBJECTS: readonly Subject[] = [
  killedWorkers,
  zombies,
  poisonous,
  killedServer,
  outage,
  lostReplies,
  restarts,
  deaf,
];
