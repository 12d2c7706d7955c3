import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Duration, parseDuration } from '../../../../src/core/time/duration.js';

describe('parseDuration', () => {
  test.each<[Duration, number]>([
    [0, 0],
    [250, 250],
    [1.5, 2],
    ['0s', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['2 h', 7_200_000],
    ['1d', 86_400_000],
    ['2w', 1_209_600_000],
    ['.5s', 500],
  ])('%j is %i ms', (value, ms) => {
    expect(parseDuration(value, 'delay')).toBe(ms);
  });

  test.each([
    '',
    '5',
    's',
    '5 parsecs',
    '-5s',
    '5s ',
    '1e3s',
    '5  s',
    '5S',
    Number.NaN,
    Number.POSITIVE_INFINITY,
    null,
    undefined,
    {},
    5n,
    true,
    [Symbol('in an array')],
    Object.create(null),
  ])('number %# is refused', (value) => {
    expect(() => parseDuration(value as Duration, 'delay')).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_OPTION_INVALID',
        message: expect.stringContaining('delay'),
      }),
    );
  });

  test('bounds are inclusive and named in the message', () => {
    const bounds = { min: 1_000, max: 60_000 };
    expect(parseDuration('1s', 'lease', bounds)).toBe(1_000);
    expect(parseDuration('1m', 'lease', bounds)).toBe(60_000);
    for (const value of [999, 60_001, '2h'] as const) {
      expect(() => parseDuration(value, 'lease', bounds)).toThrow('1000 to 60000 ms');
    }
    expect(() => parseDuration(-1, 'delay')).toThrow('out of bounds');
    expect(() => parseDuration('101w', 'delay', { max: 100 * 604_800_000 })).toThrow();
    expect(() => parseDuration('40000d', 'delay')).toThrow('out of bounds');
  });

  test('text and number agree', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (ms) => {
        expect(parseDuration(`${ms}ms`, 'delay')).toBe(parseDuration(ms, 'delay'));
      }),
    );
  });
});
