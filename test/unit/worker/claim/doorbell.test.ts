import { describe, expect, test } from 'vitest';
import { Doorbell } from '../../../../src/worker/claim/doorbell.js';

function hearing(): Doorbell {
  const bell = new Doorbell(2000);
  bell.isDeaf = false;
  return bell;
}

/** A steady stream of finds; returns the time of the last. */
function stream(bell: Doorbell, from: number, everyMs: number, forMs: number): number {
  let now = from;
  for (; now <= from + forMs; now += everyMs) bell.looked(now, 1, false, 0.5);
  return now - everyMs;
}

describe('Doorbell', () => {
  test('an idle queue falls asleep, looks at once, at 250 ms, 500 ms, 1 s, then polls', () => {
    const bell = hearing();
    bell.looked(0, 0, false, 0.5);
    expect(bell.wantsSleep(0)).toBe(true);
    bell.fellAsleep(1);
    expect(bell.dueAt).toBe(1);
    bell.looked(2, 0, false, 0.5);
    expect(bell.dueAt).toBe(251);
    bell.looked(100, 1, false, 0.5); // rung
    expect(bell.dueAt).toBe(251);
    bell.looked(251, 0, false, 0.5);
    expect(bell.dueAt).toBe(501);
    bell.looked(501, 0, false, 0.5);
    expect(bell.dueAt).toBe(1001);
    bell.looked(1401, 0, false, 0.5); // rung
    expect(bell.dueAt).toBe(2801);
    bell.looked(2801, 0, false, 0.5);
    expect(bell.dueAt).toBe(4601);
  });

  test('polls are spread by a fifth, and never later than was asked for', () => {
    const bell = hearing();
    bell.fellAsleep(0);
    bell.looked(10_000, 0, false, 0);
    expect(bell.dueAt).toBeCloseTo(11_600);
    bell.looked(10_000, 0, false, 1);
    expect(bell.dueAt).toBeCloseTo(12_000);
  });

  test('a full claim is followed by another at once', () => {
    const bell = hearing();
    bell.looked(10, 500, true, 0.5);
    expect(bell.dueAt).toBe(10);
  });

  test('after work it lingers, looking every few milliseconds', () => {
    const bell = hearing();
    bell.looked(100, 1, false, 0.5);
    expect(bell.dueAt).toBeLessThanOrEqual(103);
    expect(bell.wantsSleep(109)).toBe(false);
    expect(bell.wantsSleep(111)).toBe(true);
  });

  test('a single job does not wake it up for good, a stream does', () => {
    const bell = hearing();
    bell.fellAsleep(0);
    bell.looked(0, 1, false, 0.5);
    expect(bell.wantsWake(0)).toBe(false);
    const last = stream(bell, 0, 2, 150);
    expect(bell.wantsWake(last)).toBe(true);
    bell.wokeUp(last);
    expect(bell.wantsWake(last)).toBe(false);
  });

  test('a stream slowed down by its own rings is recognised too', () => {
    const bell = hearing();
    bell.fellAsleep(0);
    const last = stream(bell, 0, 12, 400);
    expect(bell.wantsWake(last)).toBe(true);
  });

  test('jobs far apart never make it busy', () => {
    const bell = hearing();
    bell.fellAsleep(0);
    for (let now = 0; now < 5000; now += 60) {
      bell.looked(now, 1, false, 0.5);
      expect(bell.wantsWake(now)).toBe(false);
    }
  });

  test('a steady stream changes the flag hardly ever', () => {
    const bell = hearing();
    let changes = 0;
    for (let now = 0; now < 10_000; now += 1) {
      if (now % 5 === 0) bell.looked(now, 1, false, 0.5);
      if (bell.wantsWake(now)) {
        bell.wokeUp(now);
        changes++;
      } else if (bell.wantsSleep(now)) {
        bell.fellAsleep(now);
        changes++;
      }
    }
    expect(changes).toBeLessThanOrEqual(2);
  });

  test('deaf: no sleep, only polls when idle; a bell that was set is taken away', () => {
    const bell = hearing();
    bell.fellAsleep(0);
    bell.isDeaf = true;
    expect(bell.wantsWake(1)).toBe(true);
    bell.wokeUp(1);
    expect(bell.wantsSleep(1000)).toBe(false);
    bell.looked(1000, 0, false, 0.5);
    expect(bell.dueAt).toBe(2800);
  });
});
