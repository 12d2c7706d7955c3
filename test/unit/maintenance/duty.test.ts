import { expect, test } from 'vitest';
import { type Duty, waitAfter } from '../../../src/maintenance/duty.js';

const duty: Duty = { name: 'd', intervalMs: 1_000, runOnce: async () => ({ counts: {} }) };

test('waits for its interval, or until something is due', () => {
  expect(waitAfter(duty, { counts: {} }, 5)).toBe(1_000);
  expect(waitAfter(duty, { counts: {}, nextMs: 30 }, 5)).toBe(30);
  expect(waitAfter(duty, { counts: {}, nextMs: 30_000 }, 5)).toBe(1_000);
});

test('does not spin where what is due is left to others', () => {
  expect(waitAfter(duty, { counts: { fired: 0 }, nextMs: 0 }, 5)).toBe(20);
  expect(waitAfter(duty, { counts: { fired: 1 }, nextMs: 0 }, 5)).toBe(0);
  expect(waitAfter(duty, { counts: { fired: 0 }, nextMs: 3 }, 5)).toBe(3);
});

test('more to do: at once', () => {
  expect(waitAfter(duty, { counts: {}, hasMore: true }, 5)).toBe(0);
});

test('never takes more than its share of the time', () => {
  const modest = { ...duty, share: 0.05 };
  expect(waitAfter(modest, { counts: {}, hasMore: true }, 100)).toBe(1_900);
  expect(waitAfter(modest, { counts: {} }, 100)).toBe(1_900);
  expect(waitAfter(modest, { counts: {} }, 1)).toBe(1_000);
});
