import { expect, test } from 'vitest';
import { Pace } from '../../../../src/worker/hold/pace.js';

test('nothing is claimed ahead before anything is known', () => {
  expect(new Pace(10, undefined).ahead).toBe(0);
});

test('fast handlers get as much as they do in 25 ms, at most 1000', () => {
  const pace = new Pace(10, undefined);
  pace.ran(5, 1);
  expect(pace.ahead).toBe(50);
  for (let i = 0; i < 100; i++) pace.ran(0.01, 1);
  expect(pace.ahead).toBe(1000);
});

test('slow handlers get nothing ahead', () => {
  const pace = new Pace(10, undefined);
  pace.ran(1000, 1);
  expect(pace.ahead).toBe(0);
});

test('a stall forgets a good average', () => {
  const pace = new Pace(10, undefined);
  pace.ran(0.01, 1);
  pace.stalled(1000);
  expect(pace.ahead).toBe(0);
});

test('a batch counts per job', () => {
  const pace = new Pace(1, undefined);
  pace.ran(100, 100);
  expect(pace.ahead).toBe(25);
});

test('a prefetch that was given is kept', () => {
  const pace = new Pace(10, 7);
  pace.ran(0.01, 1);
  expect(pace.ahead).toBe(7);
});

test('of one group it takes what runs in 25 ms, at most 32, and one while nothing is known', () => {
  const pace = new Pace(10, undefined);
  expect(pace.turn).toBe(1);
  pace.ran(5, 1);
  expect(pace.turn).toBe(5);
  for (let i = 0; i < 100; i++) pace.ran(0.01, 1);
  expect(pace.turn).toBe(32);
  for (let i = 0; i < 100; i++) pace.ran(1000, 1);
  expect(pace.turn).toBe(1);
  expect([new Pace(1, 0).turn, new Pace(1, 7).turn, new Pace(1, 500).turn]).toEqual([1, 8, 32]);
});
