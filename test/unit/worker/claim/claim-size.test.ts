import { expect, test } from 'vitest';
import { ClaimSize } from '../../../../src/worker/claim/claim-size.js';

test('small payloads are claimed by 500', () => {
  const size = new ClaimSize();
  size.claimed(500, 500 * 200);
  expect(size.max).toBe(500);
});

test('large ones as many as fit into 512 KiB, at least one', () => {
  const size = new ClaimSize();
  size.claimed(10, 10 * 32_768);
  expect(size.max).toBe(16);
  size.claimed(1, 67_108_864);
  expect(size.max).toBe(1);
});

test('after large ones it grows step by step', () => {
  const size = new ClaimSize();
  size.claimed(1, 67_108_864);
  const steps = [];
  for (let i = 0; i < 10; i++) {
    size.claimed(size.max, 100);
    steps.push(size.max);
  }
  expect(steps).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 500, 500]);
});

test('payloads travel apart where the last ones were large on average', () => {
  const size = new ClaimSize();
  expect(size.transfer).toBe('together');
  size.claimed(10, 2_561);
  expect(size.transfer).toBe('apart');
  size.claimed(10, 2_560);
  expect(size.transfer).toBe('together');
});

test('an empty claim tells nothing', () => {
  const size = new ClaimSize();
  size.claimed(10, 10_000);
  size.claimed(0, 0);
  expect([size.max, size.transfer]).toEqual([500, 'apart']);
});

test('a refused claim is halved, down to one', () => {
  const size = new ClaimSize();
  expect([size.refused(5), size.max]).toEqual([true, 2]);
  expect([size.refused(2), size.max]).toEqual([true, 1]);
  expect([size.refused(1), size.max]).toEqual([false, 1]);
});
