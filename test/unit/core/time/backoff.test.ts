import { expect, test } from 'vitest';
import { backoffMs, lateLookAfterMs, RECONNECT } from '../../../../src/core/time/backoff.js';

test('doubles up to its bound, with jitter over the upper half', () => {
  const most = [1, 2, 3, 8, 100].map((failures) => backoffMs(failures, RECONNECT, 1));
  expect(most).toEqual([50, 100, 200, 3_000, 3_000]);
  expect(backoffMs(3, RECONNECT, 0)).toBe(100);
});

test('late looks come when a sleep is 250 ms old, and then as late again each time', () => {
  const looks: number[] = [];
  for (let sleptMs = 0; sleptMs < 2_000; looks.push(sleptMs)) sleptMs += lateLookAfterMs(sleptMs);
  expect(looks).toEqual([250, 500, 1_000, 2_000]);
});
