// The judges judged: node --test bench/harness
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertEachOnce, assertStored } from './ledger.js';
import { latencyMetrics, median, summarise } from './statistics.js';

const worker = (...counts) => ({ counts: Uint8Array.from(counts) });

test('each job once, over all workers', () => {
  assert.doesNotThrow(() => assertEachOnce([worker(1, 0, 1), worker(0, 1, 0)], 3));
});

test('a lost and a repeated job do not cancel out', () => {
  assert.throws(() => assertEachOnce([worker(1, 0, 2)], 3), /1 of 3 jobs lost, 1 repeated/);
});

test('a job that two workers handled is repeated', () => {
  assert.throws(() => assertEachOnce([worker(1, 1), worker(0, 1)], 2), /0 of 2 jobs lost, 1 repe/);
});

test('the store holds what was enqueued', async () => {
  const agent = { call: async () => 9 };
  await assert.rejects(assertStored(agent, 10), /9 jobs stored of 10/);
  await assertStored(agent, 9);
});

test('percentiles are measured values', () => {
  const latencies = Float64Array.from({ length: 1000 }, (_, i) => 1000 - i);
  const { least, p50, p99, p999, worst } = latencyMetrics(latencies);
  assert.deepEqual([least, p50, p99, p999, worst], [1, 500, 990, 999, 1000]);
});

test('medians and spreads leave out what is not a number', () => {
  assert.equal(median([3, 1, 2, 10]), 2.5);
  assert.deepEqual(summarise([{ a: 1, b: Number.NaN }, { a: 3 }]), {
    a: { median: 2, min: 1, max: 3 },
  });
});
