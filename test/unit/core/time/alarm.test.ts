import { expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import { Alarm } from '../../../../src/core/time/alarm.js';

/** Sleeps until aborted; notes how long it was asked to. */
function sleepyClock(): Clock & { asked: number[] } {
  const asked: number[] = [];
  return {
    asked,
    now: () => 0,
    monotonic: () => 0,
    random: () => 0,
    sleep: (ms, signal) => {
      asked.push(ms);
      return new Promise((resolve) => signal?.addEventListener('abort', () => resolve()));
    },
  };
}

test('a ring cuts the sleep short', async () => {
  const clock = sleepyClock();
  const alarm = new Alarm(clock);
  const waiting = alarm.wait(1000);
  alarm.ring();
  await waiting;
  expect(clock.asked).toEqual([1000]);
});

test('a ring while nobody sleeps is kept for the next sleep, once', async () => {
  const clock = sleepyClock();
  const alarm = new Alarm(clock);
  alarm.ring();
  await alarm.wait(1000);
  expect(clock.asked).toEqual([]);
  const second = alarm.wait(500);
  expect(clock.asked).toEqual([500]);
  alarm.ring();
  await second;
});
