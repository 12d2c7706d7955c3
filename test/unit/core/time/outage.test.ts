import { expect, test } from 'vitest';
import { systemClock } from '../../../../src/core/clock.js';
import { Outage } from '../../../../src/core/time/outage.js';

/** Time stands still until it is told to go on. */
function handClock() {
  let now = 0;
  let sleeps: { readonly at: number; readonly done: () => void }[] = [];
  return {
    ...systemClock,
    monotonic: () => now,
    random: () => 1,
    sleep: (ms: number, signal?: AbortSignal) =>
      new Promise<void>((resolve) => {
        const done = (): void => resolve();
        signal?.addEventListener('abort', done);
        sleeps.push({ at: now + ms, done });
      }),
    async advance(ms: number) {
      now += ms;
      for (const { at, done } of sleeps) if (at <= now) done();
      sleeps = sleeps.filter(({ at }) => at > now);
      await settled();
    },
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('attempts of all take turns, further and further apart', async () => {
  const clock = handClock();
  const outage = new Outage(clock);
  const turns: number[] = [];
  const loop = async (): Promise<void> => {
    for (;;) {
      await outage.turn();
      turns.push(clock.monotonic());
    }
  };
  for (let i = 0; i < 4; i += 1) void loop();
  for (let at = 0; at < 20_000; at += 50) await clock.advance(50);
  const gaps = turns.slice(1).map((at, i) => at - (turns[i] ?? 0));
  expect(gaps.slice(0, 5)).toEqual([100, 200, 400, 800, 1_600]);
  expect(new Set(gaps.slice(5))).toEqual(new Set([3_000]));
});

test('when one gets through, the others follow at once, and the next outage begins anew', async () => {
  const clock = handClock();
  const outage = new Outage(clock);
  for (let i = 0; i < 8; i += 1) void outage.turn();
  let through = 0;
  for (let i = 0; i < 3; i += 1) void outage.turn().then(() => (through += 1));
  await clock.advance(1_000);
  expect(through).toBe(0);
  outage.over();
  await settled();
  expect(through).toBe(3);
  await clock.advance(3_000);
  void outage.turn().then(() => (through += 1));
  await clock.advance(50);
  expect(through).toBe(4);
});

test('an end that was none does not hurry the others', async () => {
  const clock = handClock();
  const outage = new Outage(clock);
  for (let i = 0; i < 4; i += 1) void outage.turn();
  outage.over();
  let through = 0;
  void outage.turn().then(() => (through += 1));
  await clock.advance(799);
  expect(through).toBe(0);
  await clock.advance(1);
  expect(through).toBe(1);
});

test('a stop waits for no turn', async () => {
  const outage = new Outage(handClock());
  const stop = new AbortController();
  const waiting = outage.turn(stop.signal);
  stop.abort();
  await waiting;
  await outage.turn(stop.signal);
});
