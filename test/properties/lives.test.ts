import fc from 'fast-check';
import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { Model, type ModelJob, type ModelQueue } from '../support/model.js';
import { test } from '../support/sql-test.js';

const WORLD_BEGINS = Date.UTC(2030, 0, 1);
const RUNS = Number(process.env.HOWDAH_PROPERTY_RUNS ?? 300);
const SEED = Number(process.env.HOWDAH_PROPERTY_SEED ?? Date.now() % 2 ** 31);
const WORKERS = 3;
/** What became of settles and jobs, over all lives: shows that the lives were worth living. */
const tally: Record<string, number> = {};
const count = (what: string): void => {
  tally[what] = (tally[what] ?? 0) + 1;
};
const QUEUES: Record<string, Omit<ModelQueue, 'counts'>> = {
  plain: {
    maxAttempts: 3,
    maxCrashes: 2,
    backoff: 'fixed',
    backoffMs: 1000,
    backoffMaxMs: 5000,
    deadLetterQueue: 'dead-letters',
    groupConcurrency: 1,
    keepsHistory: true,
  },
  steep: {
    maxAttempts: 4,
    maxCrashes: 3,
    backoff: 'exponential',
    backoffMs: 500,
    backoffMaxMs: 1500,
    deadLetterQueue: 'graves',
    groupConcurrency: 2,
    keepsHistory: false,
  },
  graves: {
    maxAttempts: 2,
    maxCrashes: 2,
    backoff: 'fixed',
    backoffMs: 0,
    backoffMaxMs: 0,
    deadLetterQueue: 'dead-letters',
    groupConcurrency: 1,
    keepsHistory: true,
  },
  'dead-letters': {
    maxAttempts: 2,
    maxCrashes: 2,
    backoff: 'fixed',
    backoffMs: 700,
    backoffMaxMs: 700,
    deadLetterQueue: 'dead-letters',
    groupConcurrency: 1,
    keepsHistory: true,
  },
};
const NAMES = Object.keys(QUEUES);

const queue = fc.constantFrom(
  'plain',
  'plain',
  'plain',
  'steep',
  'steep',
  'graves',
  'dead-letters',
);
const worker = fc.nat(WORKERS - 1);
const pick = fc.nat(1000);
const delayMs = fc.constantFrom(0, 0, 400, 1000, 3000);
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });

const command = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('enqueue' as const),
      queue,
      count: fc.integer({ min: 1, max: 4 }),
      priority: fc.constantFrom(0, 0, 0, 1, -100, 100),
      delayMs,
      ttlMs: fc.constantFrom(null, null, null, null, 500, 2500),
      maxAttempts: orNull(fc.constantFrom(1, 2)),
      group: fc.constantFrom(null, null, 'a', 'a', 'b'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('claim' as const),
      worker,
      queue,
      limit: fc.integer({ min: 0, max: 5 }),
      usesCursor: fc.boolean(),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      worker,
      pick,
      isStale: fc.constantFrom(false, false, false, true),
      outcome: fc.constantFrom(
        'complete',
        'fail',
        'fail',
        'fail',
        'snooze',
        'release',
        'dead_letter',
        'cancel',
        'expire',
      ),
      delayMs: orNull(delayMs),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('complete' as const),
      worker,
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      ms: fc.constantFrom(1, 400, 1000, 2000, 4000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('heartbeat' as const), worker }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), worker }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'promote' as const,
        'promote' as const,
        'reap' as const,
        'reap' as const,
        'expire' as const,
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('sweep' as const, 'roll_up' as const) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'cancel' as const,
        'run_now' as const,
        'redrive' as const,
        'discard' as const,
      ),
      pick,
    }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** A worker: its lease, its cursors, and every attempt it ever claimed. */
interface Actor {
  lease?: string;
  cursors: Record<string, Record<number, string>>;
  attempts: { lease: string; id: string; attempt: number }[];
}

class World {
  readonly actors: Actor[] = Array.from({ length: WORKERS }, () => ({ cursors: {}, attempts: [] }));
  readonly model: Model;

  constructor(readonly db: Engine) {
    const counts = () => ({
      enqueued: 0,
      completed: 0,
      failed: 0,
      cancelled: 0,
      expired: 0,
      buried: 0,
      discarded: 0,
    });
    this.model = new Model(
      Object.fromEntries(
        NAMES.map((name) => [name, { ...(QUEUES[name] as ModelQueue), counts: counts() }]),
      ),
    );
  }

  async begin(): Promise<void> {
    await this.db.rows(`delete from howdah._jobs; delete from howdah._history; delete from howdah._leases;
      delete from howdah._lease_marks; delete from howdah._counters; delete from howdah._groups; delete from howdah._counter_deltas`);
    await this.#setClock();
  }

  async #setClock(): Promise<void> {
    await this.db.rows('update test_clock set at = $1', [new Date(WORLD_BEGINS + this.model.now)]);
  }

  async leaseOf(actor: Actor): Promise<string> {
    if (actor.lease === undefined || !this.model.leases.has(actor.lease)) {
      actor.lease = await this.db.openLease('w', 2500);
      this.model.leases.set(actor.lease, { lengthMs: 2500, expiresAt: this.model.now + 2500 });
      actor.cursors = {};
    }
    return actor.lease;
  }

  async run(step: Command): Promise<void> {
    await this.#run(step);
    if (step.do !== 'wait') this.model.admit();
  }

  async #run(step: Command): Promise<void> {
    const { db, model } = this;
    switch (step.do) {
      case 'enqueue': {
        const { priority, delayMs: delay, ttlMs, maxAttempts, group } = step;
        const options = {
          priority,
          delay_ms: delay,
          ttl_ms: ttlMs,
          max_attempts: maxAttempts,
          group,
        };
        for (const id of await db.enqueue(step.queue, step.count, options)) {
          model.add(id, step.queue, { priority, delayMs: delay, ttlMs, maxAttempts, group });
        }
        return;
      }
      case 'claim':
        return this.#claim(step);
      case 'settle':
        return this.#settle(step);
      case 'complete':
        return this.#complete(step);
      case 'wait':
        model.now += step.ms;
        return this.#setClock();
      case 'heartbeat': {
        const { lease } = this.actors[step.worker] as Actor;
        if (lease === undefined) return;
        const known = model.leases.get(lease);
        const [row] = await db.rows<{ alive: boolean }>('select * from howdah.heartbeat($1)', [
          lease,
        ]);
        expect(row?.alive).toBe(known !== undefined);
        if (known) known.expiresAt = model.now + known.lengthMs;
        return;
      }
      case 'close': {
        const { lease } = this.actors[step.worker] as Actor;
        if (lease === undefined) return;
        await db.closeLease(lease);
        return model.endLease(lease, false);
      }
      case 'promote':
        expect((await db.promote()).promoted).toBe(model.promote());
        return;
      case 'reap':
        await db.reap();
        return model.reap();
      case 'expire':
        expect(await db.one('select howdah.expire()')).toBe(model.expire());
        return;
      case 'sweep':
        expect(await db.one('select howdah.sweep()'), 'nothing is behind in one session').toBe(0);
        return;
      case 'roll_up':
        await db.rows('select * from howdah.roll_up()');
        return;
      default:
        return this.#control(step);
    }
  }

  async #claim({
    worker: index,
    queue: asked,
    limit,
    usesCursor,
  }: Extract<Command, { do: 'claim' }>): Promise<void> {
    const actor = this.actors[index] as Actor;
    const lease = await this.leaseOf(actor);
    // an empty queue is asked now and then; else one that has work
    const busy = NAMES.filter((each) => this.model.ready(each).length > 0);
    const name = limit === 3 || busy.includes(asked) ? asked : (busy[0] ?? asked);
    const ready = this.model.ready(name);
    const rows = await this.db.claim(name, lease, limit, usesCursor ? actor.cursors[name] : {});
    expect(rows.length, `claimed of ${ready.length} ready`).toBe(mostOf(ready, limit));
    const taken = new Set(rows.map(({ id }) => id));
    const left = ready.filter(({ id }) => !taken.has(id));
    for (const row of rows) {
      const job = ready.find(({ id }) => id === row.id) as ModelJob;
      expect(job, `job ${row.id} was not ready`).toBeDefined();
      for (const other of left) {
        expect(
          other.lane > job.lane ||
            (other.lane === job.lane && (other.order ?? 0) >= (job.order ?? 0)),
          `job ${other.id} comes before ${job.id}`,
        ).toBe(true);
      }
      this.model.claimed(job, lease);
      expect(row).toMatchObject({
        attempt: job.attempt,
        uncounted: job.uncounted,
        max_attempts: job.maxAttempts ?? this.model.queueOf(job).maxAttempts,
      });
      expect(row.expired).toBe(job.expiresAt !== null && job.expiresAt < this.model.now);
      expect(row.errors?.length ?? 0).toBe(job.errors);
      actor.attempts.push({ lease, id: job.id, attempt: job.attempt });
      actor.cursors[name] = { ...actor.cursors[name], [row.lane]: row.seq };
    }
  }

  async #settle(step: Extract<Command, { do: 'settle' }>): Promise<void> {
    const attempts = this.actors.flatMap((actor) => actor.attempts);
    const held = attempts.filter(({ lease, id, attempt }) => {
      const job = this.model.jobs.get(id);
      return step.isStale || (job?.lease === lease && job.attempt === attempt && !job.end);
    });
    const ask = held[step.pick % Math.max(held.length, 1)];
    if (!ask) return;
    const { lease, id, attempt } = ask;
    const [row] = await this.db.settle(lease, {
      id,
      attempt,
      outcome: step.outcome,
      delay_ms: step.delayMs,
      error: { message: 'x' },
    });
    count(`settle ${row?.outcome}`);
    expect(row?.outcome, `${step.outcome} of job ${id}`).toBe(
      this.model.settle(lease, id, attempt, step.outcome, step.delayMs),
    );
  }

  async #complete(step: Extract<Command, { do: 'complete' }>): Promise<void> {
    const { attempts } = this.actors[step.worker] as Actor;
    const asks = attempts.slice(-step.count);
    const lease = asks[0]?.lease;
    if (lease === undefined) return;
    // the same job twice would be one ask too many for this function
    const last = [...new Map(asks.map((ask) => [ask.id, ask])).values()];
    const stale = await this.db.rows<{ id: string }>(
      'select howdah.complete_many($1::bigint, $2::bigint[], $3::integer[]) as id',
      [lease, last.map(({ id }) => id), last.map(({ attempt }) => attempt)],
    );
    const expected = last.filter(
      ({ id, attempt }) => this.model.settle(lease, id, attempt, 'complete', null) === 'stale',
    );
    expect(stale.map(({ id }) => id).sort()).toEqual(expected.map(({ id }) => id).sort());
  }

  async #control(step: {
    do: 'cancel' | 'run_now' | 'redrive' | 'discard';
    pick: number;
  }): Promise<void> {
    const ids = [...this.model.jobs.keys()];
    const id = ids[step.pick % Math.max(ids.length, 1)];
    if (id === undefined) return;
    if (step.do === 'cancel' || step.do === 'run_now') {
      const [row] = await this.db.rows<{ outcome: string }>(`select * from howdah.${step.do}($1)`, [
        [id],
      ]);
      expect(row?.outcome, `${step.do} of job ${id}`).toBe(
        step.do === 'cancel' ? this.model.cancel(id) : this.model.runNow(id),
      );
      return;
    }
    const job = this.model.jobs.get(id) as ModelJob;
    const isFound = !job.end && job.isDead && job.lease === null;
    const rows = await this.db.rows(`select id from howdah.${step.do}($1)`, [
      JSON.stringify({ ids: [id] }),
    ]);
    expect(rows).toEqual(isFound ? [{ id }] : []);
    if (isFound)
      step.do === 'redrive' ? this.model.redrive(job) : this.model.finish(job, 'discarded');
  }

  /** The rows are what the model says: no job lost, none twice, each in its state. */
  async compare(): Promise<void> {
    const rows = await this.db.rows(ROWS, [WORLD_BEGINS]);
    const expected = this.model
      .where(() => true)
      .map((job) => [
        job.id,
        job.queue,
        job.lane,
        job.order !== null,
        job.lease,
        job.attempt,
        job.uncounted,
        job.crashes,
        job.isDead,
        job.origin,
        job.isCancelRequested,
        job.errors,
        job.order === null ? job.runAt : null,
        job.expiresAt,
        job.group,
        job.place !== null,
      ]);
    expect(rows.map((row) => Object.values(row))).toEqual(
      expected.sort((x, y) => Number(x[0]) - Number(y[0])),
    );
  }

  async compareEnds(): Promise<void> {
    for (const job of this.model.jobs.values()) {
      count(job.end ?? (job.lane === 32_767 ? 'parked' : job.isDead ? 'dead' : 'unfinished'));
      if (job.crashes > 0) count('crashed');
    }
    const ended = [...this.model.jobs.values()].filter(
      (job) => job.end && (job.end !== 'completed' || this.model.queueOf(job).keepsHistory),
    );
    expect(await this.db.rows('select id, state from howdah._history order by id')).toEqual(
      ended.map(({ id, end }) => ({ id, state: end })).sort((x, y) => Number(x.id) - Number(y.id)),
    );
    for (const [name, { counts }] of Object.entries(this.model.queues)) {
      const stats = await this.db.stats(name);
      const { failed, ...rest } = counts;
      expect({ ...rest, failed_attempts: failed }, `counters of ${name}`).toEqual(
        Object.fromEntries(
          [...Object.keys(rest), 'failed_attempts'].map((key) => [key, Number(stats[key])]),
        ),
      );
    }
    await this.db.expectTruth();
  }
}

/** How many of these one claim takes: suspects alone, or a few, and nobody beside them. */
function mostOf(ready: readonly ModelJob[], limit: number): number {
  const first = Math.min(...ready.map(({ lane }) => lane));
  if (first >= 0) return Math.min(limit, ready.length);
  const count = ready.filter(({ lane }) => lane === first).length;
  return Math.min(limit, count, first < -1_000 ? 1 : Math.max(1, Math.floor(limit / 4)));
}

const ROWS = `select j.id, q.name, j.lane, j.seq is not null as ready, j.lease_id, j.attempt, j.uncounted, j.crashes,
    j.dead_at is not null as dead, o.name as origin, j.cancel_requested, jsonb_array_length(coalesce(j.errors, '[]')) as errors,
    case when j.seq is null then round(extract(epoch from j.run_at) * 1000 - $1)::int end as run_at,
    round(extract(epoch from j.expires_at) * 1000 - $1)::int as expires_at,
    j.group_key, j.group_seq is not null as blocked
  from howdah._jobs j join howdah._queues q on q.id = j.queue_id left join howdah._queues o on o.id = j.origin_queue_id
  order by j.id`;

describe('lives of jobs', () => {
  test(`are as the model says (seed ${SEED})`, { timeout: 120_000 }, async ({ db }) => {
    await db.rows('create table test_clock (at timestamptz not null)');
    await db.rows('insert into test_clock values (now())');
    await db.rows(`create or replace function howdah.clock() returns timestamptz
      language sql volatile parallel safe as 'select at from public.test_clock'`);
    for (const pass of [0, 1]) {
      for (const [name, policy] of Object.entries(QUEUES)) {
        await db.createQueue(name, {
          max_attempts: policy.maxAttempts,
          max_crashes: policy.maxCrashes,
          backoff: policy.backoff,
          backoff_jitter: 0,
          backoff_ms: policy.backoffMs,
          backoff_max_ms: policy.backoffMaxMs,
          retention_ms: policy.keepsHistory ? 86_400_000 : 0,
          group_concurrency: policy.groupConcurrency,
          ...(pass === 1 && name !== 'dead-letters'
            ? { dead_letter_queue: policy.deadLetterQueue }
            : {}),
        });
      }
    }
    let commands = 0;
    const result = await fc.check(
      fc.asyncProperty(
        fc.array(command, { minLength: 10, maxLength: 70, size: 'max' }),
        async (steps) => {
          const world = new World(db);
          await world.begin();
          for (const step of steps) {
            await world.run(step);
            await world.compare();
            commands += 1;
          }
          await world.compareEnds();
        },
      ),
      { seed: SEED, numRuns: RUNS, interruptAfterTimeLimit: 40_000, endOnFailure: false },
    );
    console.log(
      `[lives] seed ${SEED}: ${result.numRuns} lives, ${commands} commands, ${JSON.stringify(tally)}`,
    );
    if (result.failed && result.counterexample)
      throw new Error(fc.defaultReportMessage(result) ?? 'failed', { cause: result.errorInstance });
    expect(result.numRuns).toBeGreaterThan(20);
  });
});
