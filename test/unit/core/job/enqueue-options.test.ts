import { describe, expect, test } from 'vitest';
import { encodeJobOptions, type JobOptions } from '../../../../src/core/job/enqueue-options.js';
import { assertJobIds, isJobId } from '../../../../src/core/job/job-id.js';

const NOW = Date.UTC(2027, 0, 1);
const encode = (options?: object, priority = 0) =>
  JSON.parse(`{"x":0${encodeJobOptions(options as JobOptions, priority, NOW)}}`);

describe('encodeJobOptions', () => {
  test('writes only what is given', () => {
    expect(encodeJobOptions(undefined, 0, NOW)).toBe('');
    expect(encodeJobOptions({ delay: undefined, priority: 0 }, 5, NOW)).toBe('');
    expect(encode({}, 5)).toEqual({ x: 0, priority: 5 });
    expect(
      encode({ delay: '5m', priority: -3, headers: { trace: 'a"b' }, attempts: 2, ttl: '1h' }, 5),
    ).toEqual({
      x: 0,
      delay_ms: 300_000,
      priority: -3,
      headers: { trace: 'a"b' },
      max_attempts: 2,
      ttl_ms: 3_600_000,
    });
  });

  test('group: up to 255 characters, as PostgreSQL counts them', () => {
    const group = '🐘'.repeat(255);
    expect(encode({ group })).toEqual({ x: 0, group });
  });

  test.each([
    [new Date('2027-06-01T10:00:00Z'), '2027-06-01T10:00:00.000Z'],
    ['2027-06-01T10:00:00+02:00', '2027-06-01T08:00:00.000Z'],
    ['2027-06-01T10:00Z', '2027-06-01T10:00:00.000Z'],
    [new Date('2001-01-01T00:00:00Z'), '2001-01-01T00:00:00.000Z'],
  ])('runAt %s', (runAt, text) => {
    expect(encode({ runAt })).toEqual({ x: 0, run_at: text });
  });

  test.each([
    [{ delay: -1 }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: Number.NaN }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: Number.POSITIVE_INFINITY }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: '530w' }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: 'soon' }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: null }, 'HOWDAH_DELAY_INVALID'],
    [{ delay: 1, runAt: new Date(NOW) }, 'HOWDAH_OPTION_INVALID'],
    [{ runAt: new Date(0) }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: new Date(Date.UTC(2038, 0, 1)) }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: '+300000-01-01T00:00:00Z' }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: new Date(Number.NaN) }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: '2027-06-01T10:00:00' }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: 'tomorrow' }, 'HOWDAH_RUN_AT_INVALID'],
    [{ runAt: NOW }, 'HOWDAH_RUN_AT_INVALID'],
    [{ priority: Number.NaN }, 'HOWDAH_PRIORITY_INVALID'],
    [{ priority: 101 }, 'HOWDAH_PRIORITY_INVALID'],
    [{ priority: 0.5 }, 'HOWDAH_PRIORITY_INVALID'],
    [{ priority: '1' }, 'HOWDAH_PRIORITY_INVALID'],
    [{ attempts: 0 }, 'HOWDAH_ATTEMPTS_INVALID'],
    [{ ttl: 0 }, 'HOWDAH_TTL_INVALID'],
    [{ group: '' }, 'HOWDAH_GROUP_INVALID'],
    [{ group: 7 }, 'HOWDAH_GROUP_INVALID'],
    [{ group: null }, 'HOWDAH_GROUP_INVALID'],
    [{ group: 'ä'.repeat(256) }, 'HOWDAH_GROUP_INVALID'],
    [{ group: 'a\u0000b' }, 'HOWDAH_GROUP_INVALID'],
    [{ headers: [] }, 'HOWDAH_HEADERS_INVALID'],
    [{ headers: 'x' }, 'HOWDAH_HEADERS_INVALID'],
    [{ headers: new Map() }, 'HOWDAH_HEADERS_INVALID'],
    [{ headers: { x: '\0' } }, 'HOWDAH_HEADERS_INVALID'],
    [{ headers: { x: 'y'.repeat(17_000) } }, 'HOWDAH_HEADERS_INVALID'],
    [{ dealy: 5 }, 'HOWDAH_OPTION_INVALID'],
  ])('refuses %j', (options, code) => {
    expect(() => encode(options)).toThrow(expect.objectContaining({ code }));
  });
});

describe('job ids', () => {
  test('are decimal text of at most 63 bits', () => {
    expect(['1', '9223372036854775807'].every(isJobId)).toBe(true);
    const bad = [
      '',
      '-1',
      '1.5',
      '1e3',
      ' 1',
      '9223372036854775808',
      '12345678901234567890',
      1,
      null,
    ];
    expect(bad.filter(isJobId)).toEqual([]);
    expect(() => assertJobIds(['1', 2])).toThrow(/Job id 2 is not valid/);
  });
});
