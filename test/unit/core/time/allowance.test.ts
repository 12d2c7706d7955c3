import { expect, test } from 'vitest';
import { Allowance } from '../../../../src/core/time/allowance.js';

test('gives a burst after a quiet time, then so many a second', () => {
  const allowance = new Allowance(10, 3);
  expect([0, 0, 0].map((now) => allowance.take(now))).toEqual([0, 0, 0]);
  expect(allowance.take(0)).toBe(100);
  expect(allowance.take(60)).toBeCloseTo(40);
  expect(allowance.take(100)).toBe(0);
  expect(allowance.take(100)).toBeGreaterThan(0);
  // however long it was quiet, no more than the burst
  expect([60_000, 60_000, 60_000].map((now) => allowance.take(now))).toEqual([0, 0, 0]);
  expect(allowance.take(60_000)).toBe(100);
});
