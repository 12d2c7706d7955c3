import { expect, test } from 'vitest';
import { LeaseSignals } from '../../../../src/worker/lease/signals.js';

/** Signals whose clock shows `now`, seen from another thread. */
function signalsAt(now: number): LeaseSignals {
  return LeaseSignals.create(now);
}

test('both sides read the same clock', () => {
  const main = signalsAt(5_000);
  const thread = new LeaseSignals(main.data);
  expect(Math.abs(thread.now() - main.now())).toBeLessThan(50);
  expect(thread.now()).toBeGreaterThanOrEqual(5_000);
});

test('renews while the loop turns', () => {
  const signals = signalsAt(10_000);
  signals.beat(10_000);
  signals.deadline = 1;
  expect(signals.mayRenew(30_000)).toBe(true);
});

test('a blocked loop keeps its lease until the time-out, and no longer', () => {
  const signals = signalsAt(100_000);
  signals.beat(40_000);
  signals.deadline = 300_000;
  expect(signals.mayRenew(30_000)).toBe(true);
  signals.deadline = 90_000;
  expect(signals.mayRenew(30_000)).toBe(false);
});

test('without a time-out it keeps it for ever, with nothing running for one lease', () => {
  const signals = signalsAt(100_000);
  signals.beat(40_000);
  signals.deadline = Number.POSITIVE_INFINITY;
  expect(signals.mayRenew(30_000)).toBe(true);
  signals.deadline = 0;
  expect(signals.mayRenew(30_000)).toBe(false);
  signals.beat(80_000);
  expect(signals.mayRenew(30_000)).toBe(true);
});

test('what is heard of an older lease does not count', () => {
  const main = signalsAt(0);
  const thread = new LeaseSignals(main.data);
  main.open(1, 100);
  thread.renewed(1, 200);
  expect(main.renewedAt).toBe(200);
  main.open(2, 300);
  thread.renewed(1, 400);
  expect(main.renewedAt).toBe(300);
});
