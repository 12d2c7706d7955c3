// The judges judged: node --test bench/harness
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { encodeHistogram, percentileCurve } from './histogram.js';
import { assertEachOnce, assertPart, assertStored } from './ledger.js';
import { readStarts, StartLog } from './start-log.js';
import { latencyMetrics, median, mostWithin, pairedRatios, summarise } from './statistics.js';

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

test('workers that were stopped early leave the rest in the store', () => {
  assert.doesNotThrow(() => assertPart([worker(1, 0, 0), worker(0, 1, 0)], 3, 1));
  assert.throws(() => assertPart([worker(1, 0, 0)], 3, 1), /1 of 3 jobs lost, 0 repeated/);
  assert.throws(() => assertPart([worker(1, 2, 0)], 3, 1), /0 of 3 jobs lost, 1 repeated/);
});

test('the most within any window, wherever it begins', () => {
  assert.equal(mostWithin([0, 900, 1000, 1899, 1900], 1000), 3);
  assert.equal(mostWithin([0, 1000, 2000], 1000), 1);
  assert.equal(mostWithin([], 1000), 0);
});

test('ratios compare runs of the same round', () => {
  const { a } = pairedRatios([{ a: 10 }, { a: 40 }, { a: 1 }], [{ a: 10 }, { a: 20 }]);
  assert.deepEqual(a, { median: 1.5, min: 1, max: 2 });
});

test('a histogram keeps the distribution to three digits, over runs', () => {
  const fast = encodeHistogram(Array.from({ length: 500 }, () => 2));
  const slow = encodeHistogram(Array.from({ length: 500 }, () => 800));
  const curve = percentileCurve([fast, slow]);
  const at = (percentile) => curve.find((point) => point.percentile >= percentile).ms;
  assert.ok(Math.abs(at(40) / 2 - 1) < 0.002);
  assert.ok(Math.abs(at(60) / 800 - 1) < 0.002);
  assert.ok(curve.at(-1).percentile < 99.91, 'no percentile that a thousand values cannot have');
});

test('a log of starts is read in the order of time, over files', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-test-'));
  const files = ['a', 'b'].map((name) => path.join(folder, name));
  const logs = files.map((file) => new StartLog(file));
  for (const [i, n] of [7, 3, 9].entries()) logs[i % 2].add(n);
  for (const log of logs) log.close();
  assert.deepEqual(
    readStarts(files).map(({ n }) => n),
    [7, 3, 9],
  );
  rmSync(folder, { recursive: true });
});
