import type { QueueStats } from '../../client/operate/queues.js';
import type { WorkersView } from '../../db/tables.js';
import { command } from '../command.js';
import { type GlobalOptions, outputOf, withDatabase } from '../context.js';
import type { Column } from '../output.js';
import { showMs } from '../terminal-text.js';

/** Columns of a queue as counters show it. */
const QUEUE_COLUMNS: readonly Column<QueueStats>[] = [
  { key: 'queue' },
  { key: 'ready' },
  { key: 'scheduled' },
  { key: 'blocked' },
  { key: 'running' },
  { key: 'dead' },
  { key: 'enqueued' },
  { key: 'completed' },
  { key: 'failedAttempts', title: 'FAILED' },
  { key: 'buried' },
  { key: 'cancelled', isHidden: true },
  { key: 'expired', isHidden: true },
  { key: 'discarded', isHidden: true },
  { key: 'backlogAgeMs', title: 'BACKLOG AGE', as: 'ms' },
  { key: 'paused', title: 'PAUSED' },
  { key: 'pausedReason', isHidden: true },
  { key: 'pausedUntil', isHidden: true },
  { key: 'limitedUntil', isHidden: true },
  { key: 'limitedReason', isHidden: true },
  { key: 'circuit', isHidden: true },
  { key: 'circuitUntil', isHidden: true },
  { key: 'circuitReason', isHidden: true },
  { key: 'closed', isHidden: true },
  { key: 'closedReason', isHidden: true },
  { key: 'maxDepth', isHidden: true },
  { key: 'maxBytes', isHidden: true },
  { key: 'waitingBytes', isHidden: true },
];

interface WorkerRow {
  readonly worker: string;
  readonly state: 'alive' | 'expired';
  readonly leads: boolean;
  readonly leaseMs: number;
  readonly openedAt: Date;
  readonly expiresAt: Date;
}

const WORKER_COLUMNS: readonly Column<WorkerRow>[] = [
  { key: 'worker' },
  { key: 'state' },
  { key: 'leads' },
  { key: 'leaseMs', title: 'LEASE', as: 'ms' },
  { key: 'openedAt', title: 'SINCE' },
  { key: 'expiresAt', title: 'EXPIRES', isHidden: true },
];

export const statusCommand = command({
  command: 'status',
  describe: 'Show queues with their counts, workers, the leader and the schema version',
  builder: (yargs) =>
    yargs
      .example('$0 status', 'queues and workers')
      .example('$0 status --json | jq .queues', 'the same for a script'),
  handler: async (options) => {
    const found = await gather(options);
    const output = outputOf(options);
    if (output.mode === 'json') {
      output.json(found);
      return;
    }
    const { queues, workers, ...installation } = found;
    output.record(installation);
    output.line('');
    output.list(queues, QUEUE_COLUMNS);
    output.line('');
    if (workers.length > 0 || output.mode === 'tsv') output.list(workers, WORKER_COLUMNS);
    else output.line('No workers. Start one with `howdah work --config FILE`.');
    remarkOnBacklog(options, queues);
  },
});

async function gather(options: GlobalOptions) {
  const [{ overviewCalls }, { Queues }] = await Promise.all([
    import('../../db/calls/overview.js'),
    import('../../client/operate/queues.js'),
  ]);
  return withDatabase(options, async (database) => {
    const calls = overviewCalls(database);
    const server = await calls.server();
    const workers = (await calls.workers()).map(workerRow);
    const queues = await new Queues(database).stats(undefined);
    const leader = workers.find(({ leads }) => leads)?.worker ?? null;
    return { ...server, schema: database.schema, leader, queues, workers };
  });
}

function workerRow(each: WorkersView): WorkerRow {
  return {
    worker: each.worker,
    state: each.alive ? 'alive' : 'expired',
    leads: each.leads,
    leaseMs: each.lease_ms,
    openedAt: each.opened_at,
    expiresAt: each.expires_at,
  };
}

function remarkOnBacklog(options: GlobalOptions, queues: readonly QueueStats[]): void {
  for (const stats of queues) {
    const { queue, paused, pausedReason, backlogAgeMs, limitedUntil, circuit } = stats;
    if (limitedUntil) {
      const until = limitedUntil.toISOString();
      outputOf(options).remark(`\n${queue} waits until ${until} (${stats.limitedReason})`);
    }
    if (circuit === 'open' || circuit === 'half-open') {
      outputOf(options).remark(`\nThe circuit of ${queue} is ${circuit} (${stats.circuitReason})`);
    }
    if (stats.closed) {
      const reason = stats.closedReason ? ` (${stats.closedReason})` : '';
      outputOf(options).remark(`\n${queue} is closed to new jobs${reason}`);
    }
    if (stats.maxDepth !== null && stats.ready + stats.scheduled >= stats.maxDepth) {
      outputOf(options).remark(`\n${queue} is full: its bound is ${stats.maxDepth} waiting jobs`);
    }
    if (!paused) continue;
    const age = backlogAgeMs === null ? '' : `; its first job waits for ${showMs(backlogAgeMs)}`;
    outputOf(options).remark(
      `\n${queue} is paused${pausedReason ? ` (${pausedReason})` : ''}${age}`,
    );
  }
}
