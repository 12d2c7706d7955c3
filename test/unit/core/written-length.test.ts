import { describe, expect, test } from 'vitest';
import { writtenLength } from '../../../src/core/written-length.js';

const SPACE = Number.MAX_SAFE_INTEGER;

describe('the length of JSON as jsonb writes it out', () => {
  for (const [value, written] of [
    [1e300, 301],
    [-1.5e300, 302],
    [5e-324, 326],
    [2.2250738585072014e-308, 326],
    [[1e21, 1], 26],
    [{ text: 'x,1e+300,"\\,1e+300', n: 1e99 }, 136],
    [1e-7, 4],
    ['é1e+99', 9],
  ] as const) {
    test(`${JSON.stringify(value)}`, () => {
      expect(writtenLength(JSON.stringify(value), 0)).toBe(written);
    });
  }

  test('of what is short in any case it is not counted', () => {
    expect(writtenLength('[1e+300]', SPACE)).toBe(8);
  });

  test('a long text with as many quotes and backslashes as can be is passed over', () => {
    const text = JSON.stringify(`${'\\"'.repeat(400_000)}1e+300`);
    expect(writtenLength(text, 1_000)).toBe(text.length);
  });
});
