import { expect, test } from 'vitest';
import type { ClaimedRow } from '../../../../src/db/calls/claim.js';
import { GroupBuffer } from '../../../../src/worker/hold/group-buffer.js';

const row = (id: number, group: string | null): ClaimedRow => [
  String(id),
  null,
  0,
  10,
  201,
  [id, 1, 0, false, null, null, null, group],
];
const ids = (rows: readonly ClaimedRow[]) => rows.map(([id]) => Number(id));

test('a batch is of one key, in order; the rest stands behind the others', () => {
  const buffer = new GroupBuffer();
  buffer.add([row(1, 'a'), row(2, 'b'), row(3, 'a'), row(4, 'a'), row(5, null)], 0);
  expect(buffer.length).toBe(5);
  expect(ids(buffer.takeBatch(2, 0, 0))).toEqual([1, 3]);
  expect(ids(buffer.takeBatch(2, 0, 0))).toEqual([2]);
  expect(ids(buffer.takeBatch(2, 0, 0))).toEqual([5]);
  expect(ids(buffer.takeBatch(2, 0, 0))).toEqual([4]);
  expect(buffer.takeBatch(2, 0, 0)).toEqual([]);
  expect(buffer.length).toBe(0);
});

test('a key is due when it is full or has waited', () => {
  const buffer = new GroupBuffer();
  expect(buffer.dueAt(2, 100, 0)).toBe(Number.POSITIVE_INFINITY);
  buffer.add([row(1, 'a')], 10);
  buffer.add([row(2, 'b')], 20);
  expect(buffer.dueAt(2, 100, 50)).toBe(110);
  expect(buffer.takeBatch(2, 100, 50)).toEqual([]);
  buffer.add([row(3, 'b')], 60);
  expect(buffer.dueAt(2, 100, 60)).toBe(60);
  expect(ids(buffer.takeBatch(2, 100, 60))).toEqual([2, 3]);
  expect(ids(buffer.takeBatch(2, 100, 110))).toEqual([1]);
});

test('jobs are taken out by id, and all of them', () => {
  const buffer = new GroupBuffer();
  buffer.add([row(1, 'a'), row(2, 'b'), row(3, 'a')], 0);
  expect(buffer.ids()).toEqual(['1', '3', '2']);
  expect(ids(buffer.takeIds(new Set(['2', '3', '9'])))).toEqual([3, 2]);
  expect(buffer.length).toBe(1);
  expect(ids(buffer.takeAll())).toEqual([1]);
  expect(buffer.length).toBe(0);
  expect(buffer.dueAt(1, 0, 5)).toBe(Number.POSITIVE_INFINITY);
});
