import { describe, expect, test } from 'vitest';
import { DECODERS } from '../../../../src/db/connect/decoders.js';

const read = (oid: number, text: string): unknown => DECODERS.getTypeParser(oid, 'text')(text);

describe('columns of our own statements', () => {
  test('bigint stays text, whatever it holds; numbers, JSON and booleans are read', () => {
    expect(read(20, '9223372036854775807')).toBe('9223372036854775807');
    expect([
      read(21, '7'),
      read(23, '-7'),
      read(701, '0.1'),
      read(1700, '1764542400000.123'),
    ]).toEqual([7, -7, 0.1, 1764542400000.123]);
    expect([read(16, 't'), read(16, 'f')]).toEqual([true, false]);
    expect([read(114, '[1]'), read(3802, '{"a": null}')]).toEqual([[1], { a: null }]);
    expect(read(25, 'text')).toBe('text');
  });

  test.each([
    ['2026-11-30 22:40:00+00', '2026-11-30T22:40:00.000Z'],
    ['2026-11-30 22:40:00.123456+05:30', '2026-11-30T17:10:00.123Z'],
    ['2026-11-30 22:40:00.9-03:30', '2026-12-01T02:10:00.900Z'],
    ['0099-03-01 00:00:00+00', '0099-03-01T00:00:00.000Z'],
    ['12026-01-01 00:00:00+00', '+012026-01-01T00:00:00.000Z'],
    ['0001-12-31 23:59:59.5+00 BC', '0000-12-31T23:59:59.500Z'],
    ['1890-01-01 00:53:28+00:53:28', '1890-01-01T00:00:00.000Z'],
  ])('a time %s is %s', (text, iso) => {
    expect((read(1184, text) as Date).toISOString()).toBe(iso);
  });

  test('a time without end is infinite; one of another DateStyle is refused, never guessed', () => {
    expect([read(1184, 'infinity'), read(1184, '-infinity')]).toEqual([Infinity, -Infinity]);
    expect(() => read(1184, '30/11/2026 22:40:00 CST')).toThrow('DateStyle');
  });
});
