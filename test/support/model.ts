/** What the SQL functions do to jobs, said once more and plainly: see properties/lives.test.ts. */

export interface ModelQueue {
  readonly maxAttempts: number;
  readonly maxCrashes: number;
  readonly backoff: 'fixed' | 'exponential';
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly deadLetterQueue: string;
  /** Jobs of a group that have a turn at once. */
  readonly groupConcurrency: number;
  /** Completed jobs leave a row. */
  readonly keepsHistory: boolean;
  readonly counts: Record<
    'enqueued' | 'completed' | 'failed' | 'cancelled' | 'expired' | 'buried' | 'discarded',
    number
  >;
}

export interface ModelJob {
  readonly id: string;
  queue: string;
  origin: string | null;
  lane: number;
  /** Place among the ready; equal for jobs whose order is open. Null while scheduled. */
  order: number | null;
  runAt: number | null;
  expiresAt: number | null;
  lease: string | null;
  attempt: number;
  uncounted: number;
  crashes: number;
  readonly maxAttempts: number | null;
  isDead: boolean;
  isCancelRequested: boolean;
  errors: number;
  readonly group: string | null;
  /** Place in the line of its group; null: it has a turn, or needs none. */
  place: number | null;
  /** How it ended; undefined while it is not finished. */
  end?: 'completed' | 'cancelled' | 'expired' | 'discarded';
}

const PARKED = 32_767;

/** The lane of a job, whether it is a suspect or not. */
const plain = (lane: number): number => (lane === PARKED ? lane : (lane + 2_000) % 1_000);

/** It was claimed alone because of its crashes. */
const isAlone = ({ lane }: ModelJob): boolean => lane < -1_000;

export class Model {
  /** Milliseconds since the world began. */
  now = 0;
  readonly jobs = new Map<string, ModelJob>();
  /** Lease id to the time it ends. */
  readonly leases = new Map<string, { lengthMs: number; expiresAt: number }>();
  #order = 0;

  constructor(readonly queues: Readonly<Record<string, ModelQueue>>) {}

  queueOf(job: ModelJob): ModelQueue {
    return this.queues[job.queue] as ModelQueue;
  }

  where(test: (job: ModelJob) => boolean): ModelJob[] {
    return [...this.jobs.values()].filter((job) => job.end === undefined && test(job));
  }

  ready(queue: string): ModelJob[] {
    return this.where(
      (job) =>
        job.queue === queue && job.order !== null && job.lease === null && job.lane !== PARKED,
    );
  }

  add(
    id: string,
    queue: string,
    options: {
      priority: number;
      delayMs: number;
      ttlMs: number | null;
      maxAttempts: number | null;
      group: string | null;
    },
  ): void {
    const { priority, delayMs, ttlMs, maxAttempts, group } = options;
    const starts = this.now + delayMs;
    this.jobs.set(id, {
      id,
      queue,
      maxAttempts,
      origin: null,
      lane: 201 - 2 * priority,
      order: delayMs > 0 || group !== null ? null : this.next(),
      group,
      place: group === null ? null : this.next(),
      runAt: delayMs > 0 ? starts : null,
      expiresAt: ttlMs === null ? null : starts + ttlMs,
      lease: null,
      attempt: 0,
      uncounted: 0,
      crashes: 0,
      isDead: false,
      isCancelRequested: false,
      errors: 0,
    });
    (this.queues[queue] as ModelQueue).counts.enqueued += 1;
  }

  next(): number {
    this.#order += 1;
    return this.#order;
  }

  /** Every statement ends so: whoever may have a turn now gets it, at the tail. */
  admit(): void {
    const members = this.where(({ group, isDead }) => group !== null && !isDead);
    const order = this.next();
    for (const job of members
      .filter(({ place }) => place !== null)
      .sort((x, y) => (x.place ?? 0) - (y.place ?? 0))) {
      const turns = members.filter(
        (other) => other.place === null && other.queue === job.queue && other.group === job.group,
      );
      if (turns.length >= this.queueOf(job).groupConcurrency) continue;
      job.place = null;
      job.order = (job.runAt ?? 0) > this.now ? null : order;
    }
  }

  claimed(job: ModelJob, lease: string): void {
    job.lease = lease;
    job.attempt += 1;
  }

  finish(job: ModelJob, end: NonNullable<ModelJob['end']>): void {
    job.end = end;
    this.queueOf(job).counts[end] += 1;
  }

  bury(job: ModelJob): void {
    const { counts, deadLetterQueue } = this.queueOf(job);
    counts.failed += 1;
    counts.buried += 1;
    const isParked = job.isDead || deadLetterQueue === job.queue;
    job.origin ??= job.queue;
    if (!isParked) job.queue = deadLetterQueue;
    Object.assign(job, {
      lane: isParked ? PARKED : plain(job.lane) | 1,
      order: this.next(),
      isDead: true,
      lease: null,
      expiresAt: null,
      runAt: null,
      place: null,
      uncounted: job.attempt,
      crashes: 0,
      isCancelRequested: false,
    });
  }

  putBack(job: ModelJob, runAt: number | null, isAtHead: boolean, order = this.next()): void {
    if (job.lane !== PARKED && !(job.lane < 0 && isAtHead)) {
      const lane = plain(job.lane);
      job.lane = lane - (lane % 2) + (isAtHead ? 0 : 1);
    }
    Object.assign(job, {
      lease: null,
      isCancelRequested: false,
      order: runAt === null ? order : null,
    });
    if (runAt !== null) {
      job.runAt = runAt;
      job.expiresAt = null;
    }
  }

  /** Returns the outcome that settle() reports. */
  settle(
    lease: string,
    id: string,
    attempt: number,
    outcome: string,
    delayMs: number | null,
  ): string {
    const job = this.jobs.get(id);
    if (!job || job.end || job.lease !== lease || job.attempt !== attempt) return 'stale';
    const queue = this.queueOf(job);
    if (outcome === 'fail' || outcome === 'dead_letter') job.errors += 1;
    if (job.isCancelRequested && ['fail', 'snooze', 'release'].includes(outcome)) {
      this.finish(job, 'cancelled');
      return 'cancelled';
    }
    switch (outcome) {
      case 'complete':
        this.finish(job, 'completed');
        return 'completed';
      case 'cancel':
        this.finish(job, 'cancelled');
        return 'cancelled';
      case 'expire':
        this.finish(job, 'expired');
        return 'expired';
      case 'dead_letter':
        this.bury(job);
        return 'dead';
      case 'release':
        job.uncounted += 1;
        this.putBack(job, null, true);
        return 'ready';
      case 'snooze':
        job.uncounted += 1;
        this.putBack(job, this.now + (delayMs ?? 0), false);
        return 'scheduled';
      default:
        return this.#fail(job, queue, delayMs);
    }
  }

  #fail(job: ModelJob, queue: ModelQueue, delayMs: number | null): string {
    const failures = job.attempt - job.uncounted;
    if (failures >= (job.maxAttempts ?? queue.maxAttempts)) {
      this.bury(job);
      return 'dead';
    }
    queue.counts.failed += 1;
    const growth = queue.backoff === 'fixed' ? 1 : 2 ** (Math.max(failures, 1) - 1);
    const delay = delayMs ?? Math.min(queue.backoffMaxMs, queue.backoffMs * growth);
    this.putBack(job, delay > 0 ? this.now + delay : null, false);
    job.expiresAt = null;
    return delay > 0 ? 'scheduled' : 'ready';
  }

  /** A lease ends: by its worker's good-bye, or by its death. */
  endLease(lease: string, isCrash: boolean, order = this.next()): void {
    for (const job of this.where((each) => each.lease === lease)) {
      const queue = this.queueOf(job);
      if (isCrash) {
        job.crashes += 1;
        job.errors += 1;
      } else job.uncounted += 1;
      if (job.isCancelRequested) this.finish(job, 'cancelled');
      else if (!isCrash) this.putBack(job, null, true, order);
      else this.#crashed(job, queue, order);
    }
    this.leases.delete(lease);
  }

  #crashed(job: ModelJob, queue: ModelQueue, order: number): void {
    const attempts = job.maxAttempts ?? queue.maxAttempts;
    const isOut = job.attempt - job.uncounted >= attempts;
    const isLastCrash = isAlone(job) && job.crashes >= queue.maxCrashes;
    if (isLastCrash || (isOut && (attempts === 1 || isAlone(job)))) {
      this.bury(job);
      return;
    }
    if (isOut) job.uncounted += 1;
    const lane = plain(job.lane);
    const isLast = isOut || job.crashes > 1 || job.crashes + 1 >= queue.maxCrashes;
    job.lane = lane - (lane % 2) - (isLast ? 2_000 : 1_000);
    this.putBack(job, null, true, order);
  }

  reap(): void {
    const order = this.next();
    for (const [lease, { expiresAt }] of [...this.leases]) {
      if (expiresAt < this.now) this.endLease(lease, true, order);
    }
  }

  promote(): number {
    const due = this.where(
      ({ order, runAt, place }) => order === null && place === null && (runAt ?? 0) <= this.now,
    );
    for (const at of [...new Set(due.map(({ runAt }) => runAt ?? 0))].sort((x, y) => x - y)) {
      const order = this.next();
      for (const job of due) if (job.runAt === at) job.order = order;
    }
    return due.length;
  }

  expire(): number {
    const over = this.where(
      ({ lease, expiresAt }) => lease === null && expiresAt !== null && expiresAt < this.now,
    );
    for (const job of over) this.finish(job, 'expired');
    return over.length;
  }

  redrive(job: ModelJob): void {
    Object.assign(job, {
      queue: job.origin,
      origin: null,
      lane: job.lane === PARKED ? 201 : plain(job.lane) | 1,
      order: job.group === null ? this.next() : null,
      place: job.group === null ? null : this.next(),
      isDead: false,
      uncounted: job.attempt,
      crashes: 0,
      runAt: null,
    });
  }

  cancel(id: string): string {
    const job = this.jobs.get(id) as ModelJob;
    if (job.end)
      return job.end === 'completed' && !this.queueOf(job).keepsHistory ? 'unknown' : 'finished';
    if (job.lease === null) {
      this.finish(job, 'cancelled');
      return 'cancelled';
    }
    job.isCancelRequested = true;
    return 'requested';
  }

  runNow(id: string): string {
    const job = this.jobs.get(id) as ModelJob;
    if (job.end) return this.cancel(id);
    if (job.lease !== null) return 'running';
    if (job.place !== null) return 'blocked';
    if (job.isDead) this.redrive(job);
    else if (job.order === null) {
      const { expiresAt } = job;
      this.putBack(job, null, false);
      job.expiresAt = expiresAt;
    }
    return 'ready';
  }
}
