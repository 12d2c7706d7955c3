import { expect, test } from 'vitest';
import { Slots } from '../../../../src/core/time/slots.js';

test('slots are bounded and come back', () => {
  const slots = new Slots(2);
  expect([slots.take(), slots.take(), slots.take()]).toEqual([true, true, false]);
  expect(slots.free).toBe(0);
  slots.give();
  expect(slots.free).toBe(1);
  expect(slots.take()).toBe(true);
});

test('whenIdle waits for the last one', async () => {
  const slots = new Slots(3);
  await slots.whenIdle();
  slots.take();
  slots.take();
  let isIdle = false;
  const idle = slots.whenIdle().then(() => {
    isIdle = true;
  });
  slots.give();
  await Promise.resolve();
  expect(isIdle).toBe(false);
  slots.give();
  await idle;
  expect(isIdle).toBe(true);
});
