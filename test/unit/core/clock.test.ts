import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';

test('a sleep ends at once when its signal aborts, before or meanwhile', async () => {
  const controller = new AbortController();
  const asleep = systemClock.sleep(60_000, controller.signal);
  controller.abort();
  await asleep;
  await systemClock.sleep(60_000, controller.signal);
});

test('a thousand sleepers on one signal are no leak to warn of', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): number => warnings.push(warning);
  process.on('warning', onWarning);
  onTestFinished(() => void process.off('warning', onWarning));
  const controller = new AbortController();
  const asleep = Array.from({ length: 1_000 }, () => systemClock.sleep(60_000, controller.signal));
  await systemClock.sleep(0);
  controller.abort();
  await Promise.all(asleep);
  expect(warnings).toEqual([]);
});
