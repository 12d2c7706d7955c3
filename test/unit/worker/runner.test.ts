import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../src/core/clock.js';
import { HowdahError } from '../../../src/core/errors.js';
import { EventHub, type WorkerEvent } from '../../../src/core/events.js';
import type { ClaimedRow } from '../../../src/db/calls/claim.js';
import { silentLogger } from '../../../src/telemetry/logger.js';
import type { Attempt } from '../../../src/worker/attempt.js';
import { type Handler, type WorkOptions, work } from '../../../src/worker/binding.js';
import { Reporter } from '../../../src/worker/reporter.js';
import { Runner } from '../../../src/worker/runner.js';

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
  });
  const verbs = () => settled.map(({ id, settlement }) => `${id} ${settlement?.verb}`);
  return { runner, time, events, verbs };
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
    expect(events.map(({ type }) => type)).toEqual(['handler.leaked']);
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
