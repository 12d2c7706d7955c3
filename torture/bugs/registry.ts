import type { Nemesis } from '../nemeses/nemesis.js';
import { lateSettle, lostReply, slowNetwork } from '../nemeses/network.js';
import { terminate } from '../nemeses/server.js';
import { killerJob, killWorker, zombie } from '../nemeses/workers.js';

/** A change of the built package: the text must be there exactly once. */
export interface Patch {
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** A bug that queues have had. It exists in a patched copy of the package only, never in `src`. */
export interface Bug {
  readonly name: string;
  readonly what: string;
  readonly patches: readonly Patch[];
  /** What brings it out. */
  readonly nemeses: readonly Nemesis[];
}

const SETTLE = 'migrations/0024_settle.sql';
const FENCE = `(j.attempt = v_attempt or (j.id, j.attempt) in (select * from unnest(p_ids, p_attempts)))`;

export const BUGS: readonly Bug[] = [
  {
    name: 'no-fence',
    what: 'whoever had a job once may settle it',
    patches: [
      {
        file: SETTLE,
        find: 'where j.id = v_ask.id and j.lease_id = p_lease_id and j.attempt = v_ask.attempt',
        put: 'where j.id = v_ask.id and j.lease_id is not null',
      },
      {
        file: SETTLE,
        find: `where j.id = any (p_ids) and j.lease_id = p_lease_id
        and ${FENCE}
      returning j.id, j.queue_id, j.dead_at, j.group_key`,
        put: `where j.id = any (p_ids) and j.lease_id is not null
      returning j.id, j.queue_id, j.dead_at, j.group_key`,
      },
      {
        file: SETTLE,
        find: `where j.id = any (p_ids) and j.lease_id = p_lease_id
        and ${FENCE}
      -- what is counted below comes first: a column is found by walking over those before it`,
        put: `where j.id = any (p_ids) and j.lease_id is not null
      -- what is counted below comes first: a column is found by walking over those before it`,
      },
    ],
    nemeses: [lateSettle, zombie],
  },
  {
    name: 'late-commit',
    what: 'what is committed behind the cursor is forgotten',
    patches: [
      {
        file: 'dist/core/time/cursors.js',
        find: 'const backMs = isDeep ? FAR_MS : this.#wasShort ? NEAR_MS : 0;',
        put: 'const backMs = 0;',
      },
      {
        file: 'migrations/0036_upkeep.sql',
        find: 'where seen_seq <= v_last group by queue_id, lane order by queue_id, lane',
        put: 'where false group by queue_id, lane order by queue_id, lane',
      },
    ],
    nemeses: [slowNetwork],
  },
  {
    name: 'attempt-at-failure',
    what: 'an attempt counts when it fails, so that one which ends its worker never counts',
    patches: [
      {
        file: 'migrations/0026_lost_leases.sql',
        find: 'v_job.crashes := v_job.crashes + 1;',
        put: 'v_job.uncounted := v_job.uncounted + 1;',
      },
    ],
    nemeses: [killerJob],
  },
  {
    name: 'lost-wake-up',
    what: 'a notification is the only way to learn of work, and one is lost',
    patches: [
      {
        file: 'dist/worker/claim/doorbell.js',
        find: 'const pollMs = this.isDeaf ? Math.min(this.#pollMs, DEAF_POLL_MAX_MS) : this.#pollMs;',
        put: 'const pollMs = 3_600_000;',
      },
      {
        file: 'migrations/0008_doorbell.sql',
        find: 'order by random() limit least(greatest(p_count, 1), 16)',
        put: 'and false order by random() limit least(greatest(p_count, 1), 16)',
      },
    ],
    nemeses: [slowNetwork],
  },
  {
    name: 'group-twice',
    what: 'a group admits one member too many',
    patches: [
      {
        file: 'migrations/0009_groups.sql',
        find: 'if v_group.waiting > 0 and v_group.admitted < v_max then',
        put: 'if v_group.waiting > 0 and v_group.admitted <= v_max then',
      },
      {
        file: 'migrations/0009_groups.sql',
        find: 'order by j.group_seq limit v_max - v_group.admitted',
        put: 'order by j.group_seq limit 1 + v_max - v_group.admitted',
      },
    ],
    nemeses: [killWorker],
  },
  {
    name: 'early-ack',
    what: 'completeIn() completes the job before the transaction commits',
    patches: [
      {
        file: 'dist/worker/engine.js',
        find: 'completeIn: (run, tx, result) => completeIn(run, tx, result, parts)',
        put: 'completeIn: (run, _tx, result) => completeIn(run, this.database, result, parts)',
      },
      {
        file: 'dist/worker/settle/complete-in.js',
        find: 'const run = transactionRunner(tx, schema);',
        put: 'const run = (text, json) => tx.query({ text }, [json]);',
      },
    ],
    nemeses: [terminate, lostReply],
  },
];
