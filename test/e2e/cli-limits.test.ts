import { expect, vi } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/database.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

test('limits, pause with an end, drain and circuit from the command line', async ({ url }) => {
  const cli = (...args: string[]) => runCli(['queues', ...args, '--json'], { url });
  const limits = ['--concurrency-max', '5', '--rate', '1000/s', '--rate-burst', '50'];
  const set = await cli('set', 'api', ...limits, '--breaker', '5/1m', '--ageing', '10m');
  expect(set.json[0]).toMatchObject({
    concurrencyMax: 5,
    rateMax: 1000,
    rateMs: 1000,
    rateBurst: 50,
    breakerFailures: 5,
    breakerWindowMs: 60_000,
    ageingMs: 600_000,
    circuit: 'closed',
  });
  const changed = await cli('set', 'api', '--concurrency-max', 'none', '--rate', '10/5m');
  expect(changed.json[0]).toMatchObject({ concurrencyMax: null, rateMax: 10, rateMs: 300_000 });
  for (const bad of [
    ['--rate', '0/s'],
    ['--rate', 'fast'],
    ['--concurrency-max', '-1'],
    ['--rate-burst', '5'],
  ]) {
    expect((await cli('set', 'api', ...bad)).code, bad.join(' ')).toBe(2);
  }

  const paused = await cli('pause', 'api', '--for', '1h', '--reason', 'lunch');
  expect(paused.json[0]).toMatchObject({ paused: true, pausedUntil: expect.any(String) });
  expect((await cli('pause', 'api', '--until', '2020-01-01')).code).toBe(2);
  await cli('resume', 'api');

  const open = await cli('circuit', 'api', 'open', '--reason', 'provider is down');
  expect(open.json[0]).toMatchObject({ circuit: 'open' });
  expect((await cli('circuit', 'api', 'closed')).json[0]).toMatchObject({ circuit: 'closed' });
  const limited = await cli('limit', 'api', '--for', '1h');
  expect(limited.json[0]).toMatchObject({ limitedUntil: expect.any(String) });

  expect((await cli('drain', 'api')).code).toBe(0);
  await runCli(['enqueue', 'api', '{}', '--weight', '3'], { url });
  const late = await cli('drain', 'api', '--timeout', '100ms');
  expect([late.code, late.stderr.includes('HOWDAH_TIMEOUT')]).toEqual([1, true]);
  const heavy = await runCli(['enqueue', 'api', '{}', '--weight', '11'], { url });
  expect([heavy.code, heavy.stderr.includes('HOWDAH_WEIGHT_INVALID')]).toEqual([2, true]);
});

test('a rate per key from the command line', async ({ url }) => {
  const set = (...args: string[]) => runCli(['queues', 'set', 'keys', ...args, '--json'], { url });
  const rate = ['--group-rate', '10/5m', '--group-rate-burst', '2'];
  expect((await set(...rate)).json[0]).toMatchObject({
    groupRateMax: 10,
    groupRateMs: 300_000,
    groupRateBurst: 2,
    rateMax: null,
  });
  expect((await set('--group-rate', 'none')).json[0]).toMatchObject({ groupRateMax: null });
  for (const bad of [
    ['--group-rate', '0/s'],
    ['--group-rate-burst', '5'],
    ['--group-rate', '1/s', '--group-rate-burst', '0'],
  ]) {
    expect((await set(...bad)).code, bad.join(' ')).toBe(2);
  }
});
