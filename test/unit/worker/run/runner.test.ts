import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import { HowdahError } from '../../../../src/core/errors.js';
import { EventHub, type WorkerEvent } from '../../../../src/core/events.js';
import type { ClaimedRow } from '../../../../src/db/calls/claim.js';
import type { SettleOutcome } from '../../../../src/db/calls/settle.js';
import { silentLogger } from '../../../../src/telemetry/logger.js';
import { type Handler, type WorkOptions, work } from '../../../../src/worker/handler/binding.js';
import { Runner } from '../../../../src/worker/run/runner.js';
import type { Attempt } from '../../../../src/worker/settle/attempt.js';
import { Reporter } from '../../../../src/worker/settle/reporter.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A runner whose clock stands still until it is told otherwise. */
function runnerWith(handler: Handler, options: WorkOptions = {}) {
  const time = { now: 1_000 };
  const clock: Clock = {
    now: () => time.now,
    monotonic: () => time.now,
    random: () => 0.5,
    sleep: turn as never,
  };
  const settled: Attempt[] = [];
  const events: WorkerEvent[] = [];
  const hub = new EventHub();
  hub.add((event) => events.push(event));
  const runner = new Runner(work('q', handler, options), {
    clock,
    hub,
    logger: silentLogger,
    settle: (attempt) => settled.push(attempt),
    reporter: new Reporter({
      calls: { watch: async () => [], report: async () => [] },
      pool: { query: async () => [] },
      clock,
      hub,
    }),
    onDeadline: () => {},
    onBegin: () => {},
    onEnd: () => {},
    onRoom: () => {},
    completeIn: async () => {},
    transactions: { lend: () => Promise.reject(new Error('none')), complete: async () => {} },
  });
  const verbs = () => settled.map(({ id, settlement }) => `${id} ${settlement?.verb}`);
  return { runner, time, events, verbs, settled };
}

function rows(...ids: string[]): ClaimedRow[] {
  return ids.map((id) => [id, {}, 0, 10, 201, null]);
}

describe('Runner', () => {
  test('begins in order, as slots are free', async () => {
    const begun: string[] = [];
    const ends: (() => void)[] = [];
    const { runner, verbs } = runnerWith(
      ({ id }) => {
        begun.push(id);
        return new Promise((resolve) => ends.push(resolve));
      },
      { concurrency: 2, prefetch: 5 },
    );
    expect(runner.room).toBe(7);
    runner.accept(rows('1', '2', '3'), '7', false);
    await turn();
    expect(begun).toEqual(['1', '2']);
    expect(runner.room).toBe(4);
    ends[1]?.();
    await turn();
    expect(begun).toEqual(['1', '2', '3']);
    expect(verbs()).toEqual(['2 complete']);
  });

  test('a shorter time-out fires although an older run has a longer one, and is the next deadline', async () => {
    const { runner, time, verbs } = runnerWith(() => new Promise(() => {}), { concurrency: 9 });
    const begin = async (id: string, timeoutMs: number | null) => {
      runner.timeoutMs = timeoutMs;
      runner.accept(rows(id), '7', false);
      await turn();
    };
    await begin('1', null);
    await begin('2', 60_000);
    time.now += 10;
    await begin('3', 1_000);
    await begin('4', 30_000);
    time.now += 10;
    await begin('5', 1_000);
    expect(runner.runs.earliestDeadline).toBe(2_010);
    expect(runner.nextDeadline()).toBe(2_010);
    time.now = 2_010;
    runner.expire(time.now);
    expect(verbs()).toEqual(['3 fail']);
    expect(runner.runs.earliestDeadline).toBe(2_020);
    expect(runner.runs.jobIds.toSorted()).toEqual(['1', '2', '4', '5']);
    time.now = 31_010;
    runner.expire(time.now);
    expect(verbs().toSorted()).toEqual(['3 fail', '4 fail', '5 fail']);
    time.now = 1e9;
    runner.expire(time.now);
    expect(verbs().at(-1)).toBe('2 fail');
    expect([runner.runs.size, runner.runs.earliestDeadline]).toEqual([1, Infinity]);
  });

  test('gives jobs back that it claimed ahead of a handler which turned out to be slow', async () => {
    const { runner, time, verbs } = runnerWith(() => new Promise(() => {}), { concurrency: 1 });
    runner.accept(rows('1', '2', '3'), '7', false);
    await turn();
    time.now += 900;
    runner.unstall(time.now);
    expect(verbs()).toEqual([]);
    time.now += 200;
    runner.unstall(time.now);
    expect(verbs()).toEqual(['2 release', '3 release']);
    expect(runner.capacity).toBe(1);
  });

  test('keeps them when that was asked for', async () => {
    const options = { concurrency: 1, prefetch: 2 };
    const { runner, time, verbs } = runnerWith(() => new Promise(() => {}), options);
    runner.accept(rows('1', '2', '3'), '7', false);
    await turn();
    time.now += 60_000;
    runner.unstall(time.now);
    expect(verbs()).toEqual([]);
  });

  test('gives back what is claimed after a stop, or under a lease that was lost meanwhile', () => {
    const { runner, verbs } = runnerWith(() => undefined);
    runner.accept(rows('1'), '6', true);
    runner.stop();
    runner.accept(rows('2'), '7', false);
    expect(verbs()).toEqual(['1 release', '2 release']);
  });

  test('a lost lease: what waits is given back, what runs is told and forgotten', async () => {
    const reasons: unknown[] = [];
    const { runner, time, events, verbs } = runnerWith(
      (_job, { signal }) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason);
            setTimeout(resolve, 5);
          });
        }),
      { concurrency: 1, prefetch: 1 },
    );
    runner.accept(rows('1', '2'), '7', false);
    await turn();
    const lost = new HowdahError('HOWDAH_LEASE_LOST', 'gone');
    runner.forsake(lost);
    expect(reasons).toEqual([lost]);
    expect(verbs()).toEqual(['2 release']);
    expect(runner.slots.free).toBe(0);
    time.now += 1_000;
    runner.expire(time.now);
    expect(runner.slots.free).toBe(1);
    expect(events.map(({ type }) => type)).toEqual([
      'job.claimed',
      'job.claimed',
      'job.started',
      'handler.leaked',
    ]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(verbs()).toEqual(['2 release']);
    expect(runner.slots.free).toBe(1);
  });

  test('an expired job is not run', async () => {
    const begun: string[] = [];
    const { runner, verbs } = runnerWith(({ id }) => void begun.push(id));
    runner.accept(
      [['1', {}, 0, 10, 201, [1, 1, 0, true, null, null, null, null]], ...rows('2')],
      '7',
      false,
    );
    await turn();
    expect(begun).toEqual(['2']);
    expect(verbs()).toEqual(['1 expire', '2 complete']);
  });

  test('handlers that never yield do not starve the event loop', async () => {
    const { runner, time, verbs } = runnerWith(() => {
      time.now += 2;
    });
    runner.accept(rows(...Array.from({ length: 30 }, (_, n) => String(n))), '7', false);
    await turn();
    expect(verbs().length).toBeLessThan(10);
    for (let n = 0; n < 30; n++) await turn();
    expect(verbs()).toHaveLength(30);
  });
});

/** A head and its followers, as one claim brings them. */
function turnOf(group: string, ...ids: string[]): ClaimedRow[] {
  return ids.map((id, index) => {
    const rest = [1, 1, 0, false, null, null, null, group] as const;
    return [id, {}, 0, 10, 201, index > 0 ? [...rest, true] : rest];
  });
}

describe('Followers of a runner', () => {
  /** Tells the runner what the database said of everything that has ended since. */
  function confirm(
    { runner, settled }: Pick<ReturnType<typeof runnerWith>, 'runner' | 'settled'>,
    outcome: SettleOutcome,
  ): boolean[] {
    return settled.splice(0).map((attempt) => {
      attempt.outcome = outcome;
      return runner.settled(attempt);
    });
  }

  test('each begins when the one before it is settled, not when it has returned', async () => {
    const begun: string[] = [];
    const it = runnerWith(({ id }) => void begun.push(id), { concurrency: 4 });
    it.runner.accept(turnOf('g', '1', '2', '3'), '7', false);
    await turn();
    await turn();
    expect(begun).toEqual(['1']);
    expect([it.runner.isIdle, it.runner.jobIds]).toEqual([false, ['2', '3']]);
    expect(it.settled.map(({ isLed }) => isLed)).toEqual([true]);
    expect(confirm(it, 'completed')).toEqual([true]);
    expect(begun).toEqual(['1', '2']);
    expect(confirm(it, 'dead')).toEqual([true]);
    expect(it.settled.map(({ id, isLed }) => [id, isLed])).toEqual([['3', false]]);
    expect(confirm(it, 'completed')).toEqual([false]);
    expect([begun, it.runner.isIdle]).toEqual([['1', '2', '3'], true]);
  });

  test.for(['ready', 'scheduled', 'stale'] as const)(
    'what is %s after it was settled lets none begin: they are given back',
    async (outcome, _context) => {
      const it = runnerWith(() => undefined, { concurrency: 4 });
      it.runner.accept(turnOf('g', '1', '2', '3'), '7', false);
      await turn();
      expect(confirm(it, outcome)).toEqual([true]);
      expect(it.verbs()).toEqual(['2 release', '3 release']);
      expect(it.runner.isIdle).toBe(true);
    },
  );

  test('they are given back when the worker stops, when the turn is old, and when one is cancelled that one only', async () => {
    const stopped = runnerWith(() => new Promise(() => {}), { concurrency: 1 });
    stopped.runner.accept(turnOf('g', '1', '2'), '7', false);
    await turn();
    stopped.runner.stop();
    expect(stopped.verbs()).toEqual(['2 release']);

    const old = runnerWith(() => new Promise(() => {}), { concurrency: 1 });
    old.runner.accept(turnOf('g', '1', '2', '3'), '7', false);
    await turn();
    old.runner.cancel(new Set(['2']));
    expect(old.verbs()).toEqual(['2 cancel']);
    expect(confirm(old, 'cancelled')).toEqual([false]);
    old.time.now += 1_001;
    old.runner.unstall(old.time.now);
    expect(old.verbs()).toEqual(['3 release']);
  });
});
