import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import type { Duty, DutyResult } from '../../../src/maintenance/duty.js';
import { Turns } from '../../../src/maintenance/turns.js';

/** A clock that stands until it is moved. */
function standing() {
  let now = 0;
  return { clock: { ...systemClock, monotonic: () => now }, pass: (ms: number) => (now += ms) };
}

test('one duty runs at a time, and for how long it waited is not its own time', async () => {
  const { clock, pass } = standing();
  const turns = new Turns(clock);
  const open: ((result: DutyResult) => void)[] = [];
  const duty = (name: string): Duty => ({
    name,
    intervalMs: 1_000,
    runOnce: () => new Promise((resolve) => open.push(resolve)),
  });
  const [first, second] = [turns.of(duty('slow')).runOnce(), turns.of(duty('quick')).runOnce()];
  await Promise.resolve();
  expect(open).toHaveLength(1);
  pass(10_000);
  open[0]?.({ counts: {} });
  expect(await first).toEqual({ counts: {}, tookMs: 10_000 });
  await Promise.resolve();
  pass(3);
  open[1]?.({ counts: { done: 1 } });
  expect(await second).toEqual({ counts: { done: 1 }, tookMs: 3 });
});

test('one that fails keeps no other from its turn', async () => {
  const turns = new Turns(systemClock);
  const bad: Duty = { name: 'bad', intervalMs: 1, runOnce: () => Promise.reject(new Error('no')) };
  const good: Duty = { name: 'good', intervalMs: 1, runOnce: async () => ({ counts: {} }) };
  const failed = turns.of(bad).runOnce();
  const done = turns.of(good).runOnce();
  await expect(failed).rejects.toThrow('no');
  await expect(done).resolves.toMatchObject({ counts: {} });
});
