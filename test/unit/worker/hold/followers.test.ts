import { describe, expect, test } from 'vitest';
import type { ClaimedRow } from '../../../../src/db/calls/claim.js';
import { Followers } from '../../../../src/worker/hold/followers.js';
import { Attempt } from '../../../../src/worker/settle/attempt.js';

function member(id: string, group: string, follows: boolean): ClaimedRow {
  const rest = [1, 1, 0, false, null, null, null, group] as const;
  return [id, {}, 0, 10, 201, follows ? [...rest, true] : rest];
}

const plain: ClaimedRow = ['9', {}, 0, 10, 201, null];
const ids = (rows: readonly (ClaimedRow | undefined)[]) => rows.map((row) => row?.[0]);

function kept(): { followers: Followers; heads: ClaimedRow[] } {
  const followers = new Followers();
  const heads = followers.keep(
    [
      member('1', 'a', false),
      plain,
      member('2', 'b', false),
      member('3', 'a', true),
      member('4', 'a', true),
      member('5', 'b', true),
    ],
    100,
  );
  return { followers, heads };
}

describe('Followers', () => {
  test('keeps followers and lets heads and jobs without a group pass', () => {
    const { followers, heads } = kept();
    expect(ids(heads)).toEqual(['1', '9', '2']);
    expect(followers.length).toBe(3);
    expect(followers.ids()).toEqual(['3', '4', '5']);
  });

  test('a claim without followers is passed on as it is', () => {
    const rows = [plain, member('1', 'a', false)];
    expect(new Followers().keep(rows, 0)).toBe(rows);
  });

  test('each leads the one behind it, in order, the last leads nobody', () => {
    const { followers } = kept();
    const attempt = (id: string, group: string) => new Attempt(member(id, group, true), 'q', '7');
    expect(followers.isLed(attempt('1', 'a'))).toBe(true);
    expect(followers.isLed(attempt('3', 'a'))).toBe(false);
    expect(followers.isLed(new Attempt(plain, 'q', '7'))).toBe(false);
    expect(ids([followers.next('a')])).toEqual(['3']);
    expect(followers.isLed(attempt('1', 'a'))).toBe(false);
    expect(followers.isLed(attempt('3', 'a'))).toBe(true);
    expect(ids([followers.next('a'), followers.next('a')])).toEqual(['4', undefined]);
    expect(followers.isLed(attempt('4', 'a'))).toBe(false);
    expect(followers.length).toBe(1);
  });

  test('gives out a group, those that are wanted, old ones, all', () => {
    expect(ids(kept().followers.take('a'))).toEqual(['3', '4']);
    const { followers } = kept();
    expect(ids(followers.takeIds(new Set(['3', '5'])))).toEqual(['3', '5']);
    expect(followers.length).toBe(1);
    expect(followers.takeOld(99)).toEqual([]);
    expect(ids(followers.takeOld(100))).toEqual(['4']);
    expect(followers.length).toBe(0);
    expect(ids(kept().followers.takeAll())).toEqual(['3', '4', '5']);
  });
});
