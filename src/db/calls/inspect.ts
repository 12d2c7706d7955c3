import type { JobError, JobState } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import type { Database } from '../database.js';
import type { BlockedGroupsView, DeadLettersView, JobsView, QueueStatsView } from '../tables.js';
import { withPlainTimes } from '../times.js';

/** A job without its payload, headers, errors and result. */
export interface JobSummaryRow extends Omit<JobsView, 'payload' | 'headers' | 'errors' | 'result'> {
  /** Its last error, where that is wanted. */
  readonly error?: JobError | null;
  /** Where a dead one came from, where that is wanted. */
  readonly origin_queue?: string | null;
}

/** A job with what it has reported. */
export interface JobDetailsRow extends JobsView {
  /** Where a dead one came from. */
  readonly origin_queue: string | null;
  readonly progress: unknown;
  readonly progress_at: Date | null;
  readonly logs: readonly {
    readonly at: string;
    readonly attempt: number;
    readonly level: string;
    readonly message: string;
    readonly fields: Readonly<Record<string, Json>> | null;
  }[];
}

/** Which jobs to list, newest first. */
interface JobListFilter {
  readonly queue?: string | undefined;
  readonly states?: readonly JobState[] | undefined;
  readonly batch?: string | undefined;
  /** Only ids below this one: the last of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
  /** The whole last error, for its message may be encoded. */
  readonly isErrorWanted: boolean;
}

/** Which dead letters to list, newest first. */
interface DeadLetterListFilter {
  readonly queue?: string | undefined;
  readonly deadLetterQueue?: string | undefined;
  readonly reason?: string | undefined;
  readonly after?: string | undefined;
  readonly limit: number;
}

/** Reads of the views. */
interface InspectCalls {
  job(id: string): Promise<JobDetailsRow | undefined>;
  jobs(filter: JobListFilter): Promise<JobSummaryRow[]>;
  deadLetters(filter: DeadLetterListFilter): Promise<DeadLettersView[]>;
  queueStats(queue?: string): Promise<QueueStatsView[]>;
  /** Groups of a queue in which jobs wait, the longest blocked first. */
  blockedGroups(queue: string, limit: number): Promise<BlockedGroupsView[]>;
}

const COLUMNS = [
  'id',
  'queue',
  'state',
  'priority',
  'attempt',
  'enqueued_at',
  'claimed_at',
  'worker',
  'last_error',
  'group_key',
  'batch_id',
] as const;

/** Days of the history that a call of `finished_ids` looks at. */
const DAYS_MAX = 60;

const FINISHED: ReadonlySet<JobState> = new Set<JobState>([
  'completed',
  'cancelled',
  'expired',
  'discarded',
]);

/** Prepares the statements of {@link InspectCalls}; those of lists have only the conditions that are asked for. */
export function inspectCalls(database: Database): InspectCalls {
  const job = database.statement(
    'job',
    withPlainTimes(`select j.*, p.progress, p.progress_at, (
      select coalesce(jsonb_agg(jsonb_build_object('at', l.at, 'attempt', l.attempt, 'level', l.level,
        'message', l.message, 'fields', l.fields) order by l.n), '[]')
      from {{schema}}.job_logs l where l.id = $1::bigint) as logs,
      (select s.origin_queue from {{schema}}.job_states s where s.id = $1::bigint) as origin_queue
    from {{schema}}.find_jobs(array[$1::bigint]) j
    left join {{schema}}.job_progress p on p.id = j.id`),
  );
  const stats = database.statement(
    'queue_stats',
    withPlainTimes(
      'select * from {{schema}}.queue_stats where $1::text is null or queue = $1 order by queue',
    ),
  );
  const blockedGroups = database.sql(
    withPlainTimes(`select * from {{schema}}.blocked_groups where queue = $1::text
    order by since, group_key limit $2::integer`),
  );
  return {
    job: async (id) => (await database.query<JobDetailsRow>(job, [id]))[0],
    queueStats: (queue) => database.query<QueueStatsView>(stats, [queue ?? null]),
    blockedGroups: (queue, limit) =>
      database.query<BlockedGroupsView>({ text: blockedGroups }, [queue, limit]),
    jobs: (filter) => listJobs(database, filter),
    deadLetters: (filter) => listDeadLetters(database, filter),
  };
}

/** A condition of a list, with `?` for its value; null: it is not asked for. */
type Condition = readonly [text: string, value?: unknown] | null;

/** Rows of a view that meet all conditions, the greatest ids first. */
function list<R extends object>(
  database: Database,
  select: string,
  conditions: readonly Condition[],
  limit: number,
): Promise<R[]> {
  const values: unknown[] = [];
  const met = conditions.flatMap((condition) => {
    if (condition === null) return [];
    const [text, ...given] = condition;
    values.push(...given);
    return [text.replace('?', `$${values.length}`)];
  });
  values.push(limit);
  const where = met.length > 0 ? `where ${met.join(' and ')}` : '';
  const text = `${select} ${where} order by id desc limit $${values.length}::integer`;
  return database.query<R>({ text: withPlainTimes(database.sql(text)) }, values);
}

/** Reads the history only where finished jobs are asked for, and the others likewise. */
async function listJobs(database: Database, filter: JobListFilter): Promise<JobSummaryRow[]> {
  const { states } = filter;
  if (states?.every(isFinished)) return listFinished(database, filter);
  if (states && !states.some(isFinished)) {
    return listUnfinished(database, filter);
  }
  // each by its own index: of both in one statement all would be sorted. A job that ends in between is in both
  const [unfinished, finished] = [states?.filter(isUnfinished), states?.filter(isFinished)];
  const first = await listUnfinished(database, { ...filter, states: unfinished });
  const second = await listFinished(database, { ...filter, states: finished });
  const ended = new Set(second.map(({ id }) => id));
  return first
    .filter(({ id }) => !ended.has(id))
    .concat(second)
    .sort((a, b) => Number(BigInt(b.id) - BigInt(a.id)))
    .slice(0, filter.limit);
}

function isFinished(state: JobState): boolean {
  return FINISHED.has(state);
}

function isUnfinished(state: JobState): boolean {
  return !FINISHED.has(state);
}

async function listUnfinished(
  database: Database,
  { queue, states, batch, after, limit, isErrorWanted }: JobListFilter,
): Promise<JobSummaryRow[]> {
  const error = isErrorWanted ? ', errors -> -1 as error, origin_queue' : '';
  const select = `select ${COLUMNS.join(', ')}, run_at, null::timestamptz as finished_at,
    dead_reason as reason${error} from {{schema}}.job_states`;
  const conditions: readonly Condition[] = [
    states === undefined ? null : ['state = any (?::text[])', states],
    queue === undefined ? null : ['queue = ?::text', queue],
    batch === undefined ? null : ['batch_id = ?::bigint', batch],
    // says the same again in words that an index knows
    states?.every((state) => state === 'dead') ? ['dead_at is not null'] : null,
    after === undefined ? null : ['id < ?::bigint', after],
  ];
  return list<JobSummaryRow>(database, select, conditions, limit);
}

async function listFinished(
  database: Database,
  { queue, states, batch, after, limit, isErrorWanted }: JobListFilter,
): Promise<JobSummaryRow[]> {
  const text = database.sql(
    `select to_json(ids::text[]) as ids, next_high as "nextHigh"
    from {{schema}}.finished_ids($1, $2::text[], $3::bigint, $4::bigint, $5, $6)`,
  );
  let ids: string[] = [];
  for (let skip = 0, isMore = true; isMore; skip += DAYS_MAX) {
    const values = [queue ?? null, states ?? null, batch ?? null, after ?? null, limit, skip];
    const [page] = await database.query<FinishedIds>({ text }, values);
    const found = new Set([...ids, ...(page?.ids ?? [])]);
    ids = [...found].sort((a, b) => Number(BigInt(b) - BigInt(a))).slice(0, limit);
    const high = page?.nextHigh ?? null;
    const last = ids[limit - 1];
    isMore = high !== null && (last === undefined || BigInt(last) <= BigInt(high));
  }
  const error = isErrorWanted ? ', errors -> -1 as error' : '';
  const listed = database.sql(
    withPlainTimes(`select ${COLUMNS.join(', ')}, null::timestamptz as run_at, finished_at, reason${error}
    from {{schema}}.find_jobs($1::bigint[]) where state = any ($2::text[]) order by id desc`),
  );
  return database.query<JobSummaryRow>({ text: listed }, [ids, states ?? [...FINISHED]]);
}

/** A page of `finished_ids`. */
interface FinishedIds {
  readonly ids: readonly string[];
  /** Days that are left have no greater id; null: none is left. */
  readonly nextHigh: string | null;
}

async function listDeadLetters(
  database: Database,
  { queue, deadLetterQueue, reason, after, limit }: DeadLetterListFilter,
): Promise<DeadLettersView[]> {
  const conditions: readonly Condition[] = [
    queue === undefined ? null : ['queue = ?::text', queue],
    deadLetterQueue === undefined ? null : ['dead_letter_queue = ?::text', deadLetterQueue],
    reason === undefined ? null : ['reason = ?::text', reason],
    after === undefined ? null : ['id < ?::bigint', after],
  ];
  return list(database, 'select * from {{schema}}.dead_letters', conditions, limit);
}
