import { expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import type { LeaseCalls } from '../../../../src/db/calls/leases.js';
import type { Executor } from '../../../../src/db/executor.js';
import { Strays } from '../../../../src/worker/claim/strays.js';
import type { LeaseKeeper } from '../../../../src/worker/lease/keeper.js';

const line: Executor = { query: async () => [] };

/** @param answer of the database; may throw */
function straysWith(answer: () => boolean = () => true) {
  const state = { now: 0, lease: '7', looks: [] as number[] };
  const clock = { monotonic: () => state.now } as Clock;
  const keeper = {
    get id() {
      return state.lease;
    },
  } as LeaseKeeper;
  const leases = {
    returnStrays: async () => {
      state.looks.push(state.now);
      return answer();
    },
  } as unknown as LeaseCalls;
  const strays = new Strays({
    leases,
    line,
    keeper,
    clock,
    knownIds: () => [],
    onFailed: () => undefined,
  });
  const until = async (end: number): Promise<void> => {
    for (; state.now <= end; state.now += 500) await strays.look();
  };
  return { state, strays, until };
}

test('nothing is asked while no claim has failed; after one, at once and ever later', async () => {
  const { state, strays, until } = straysWith();
  await until(1_000);
  expect(state.looks).toEqual([]);
  expect(strays.dueAt).toBe(Number.POSITIVE_INFINITY);
  const from = state.now;
  strays.suspect('7');
  await until(from + 400_000);
  expect(state.looks.map((at) => at - from)).toEqual([0, 2_000, 15_000, 60_000, 180_000]);
  expect(strays.isDue).toBe(false);
});

test('a look that fails is repeated a second later', async () => {
  let failures = 2;
  const { state, strays, until } = straysWith(() => {
    if (failures-- > 0) throw new Error('no connection');
    return true;
  });
  strays.suspect('7');
  await until(2_500);
  expect(state.looks).toEqual([0, 1_000, 2_000]);
});

test('what another lease held, or one that has ended, is not asked for', async () => {
  const { state, strays, until } = straysWith(() => false);
  strays.suspect('7');
  await until(5_000);
  expect(state.looks).toEqual([0]);
  strays.suspect('7');
  state.lease = '8';
  await until(20_000);
  expect(state.looks).toEqual([0]);
});
