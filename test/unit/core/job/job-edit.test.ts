import { expect, test } from 'vitest';
import type { HowdahError } from '../../../../src/core/errors.js';
import { encodeJobEdit, type JobEdit } from '../../../../src/core/job/job-edit.js';

const NOW = Date.UTC(2026, 0, 1);

const encode = (edit: JobEdit): unknown => JSON.parse(encodeJobEdit(edit, NOW));

test('names what is to be changed, and nothing else', () => {
  expect(encode({ priority: 0 })).toEqual({ priority: 0 });
  expect(encode({ payload: null, delay: '1m' })).toEqual({ payload: null, delay_ms: 60_000 });
  expect(encode({ runAt: new Date(Date.UTC(2001, 0, 1)), headers: { a: 1 } })).toEqual({
    run_at: '2001-01-01T00:00:00.000Z',
    headers: { a: 1 },
  });
  expect(encode({ priority: 3, delay: undefined, payload: [1] })).toEqual({
    priority: 3,
    payload: [1],
  });
});

test('refuses what cannot be', () => {
  const codeOf = (edit: unknown): unknown => {
    try {
      return encodeJobEdit(edit as JobEdit, NOW);
    } catch (error) {
      return (error as HowdahError).code;
    }
  };
  expect(codeOf({})).toBe('HOWDAH_EDIT_INVALID');
  expect(codeOf({ payload: undefined })).toBe('HOWDAH_EDIT_INVALID');
  expect(codeOf({ group: 'x' })).toBe('HOWDAH_EDIT_INVALID');
  expect(codeOf({ priority: 1000 })).toBe('HOWDAH_PRIORITY_INVALID');
  expect(codeOf({ delay: -1 })).toBe('HOWDAH_DELAY_INVALID');
  expect(codeOf({ runAt: 'soon' })).toBe('HOWDAH_RUN_AT_INVALID');
  expect(codeOf({ headers: [] })).toBe('HOWDAH_HEADERS_INVALID');
  expect(codeOf({ payload: Number.NaN })).toBe('HOWDAH_PAYLOAD_INVALID');
});
