import { expect, test } from 'vitest';
import { backoffMs, RECONNECT } from '../../../src/core/backoff.js';

test('doubles up to its bound, with jitter over the upper half', () => {
  const most = [1, 2, 3, 8, 100].map((failures) => backoffMs(failures, RECONNECT, 1));
  expect(most).toEqual([50, 100, 200, 3_000, 3_000]);
  expect(backoffMs(3, RECONNECT, 0)).toBe(100);
});
