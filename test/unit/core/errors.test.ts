import { describe, expect, test } from 'vitest';
import { ERROR_CODES, errorCodeOf, HowdahError } from '../../../src/core/errors.js';

describe('error codes', () => {
  test('are named and described alike', () => {
    for (const [code, { summary, sqlstate }] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^HOWDAH_[A-Z]+(_[A-Z]+)*$/);
      expect(summary, code).toMatch(/^[A-Z].*[.]$|^[A-Z].*`cause`\.$/);
      if (sqlstate) expect(sqlstate, code).toMatch(/^HW\d{3}$/);
    }
  });

  test('have one SQLSTATE each', () => {
    const states = Object.values(ERROR_CODES).flatMap(({ sqlstate }) => sqlstate ?? []);
    expect(new Set(states).size).toBe(states.length);
    expect(states.map(errorCodeOf)).not.toContain(undefined);
    expect(errorCodeOf('HW001')).toBe('HOWDAH_QUEUE_UNKNOWN');
    expect(errorCodeOf('23505')).toBeUndefined();
  });
});

describe('HowdahError', () => {
  test('carries code, details, remedy and cause', () => {
    const cause = new Error('below');
    const error = new HowdahError('HOWDAH_OPTION_INVALID', 'Option lease: 5 is out of bounds.', {
      cause,
      details: { option: 'lease', value: 5 },
      remedy: 'Allowed are 1000 to 3600000 ms.',
    });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'HowdahError',
      code: 'HOWDAH_OPTION_INVALID',
      message: 'Option lease: 5 is out of bounds. Allowed are 1000 to 3600000 ms.',
      details: { option: 'lease', value: 5 },
      remedy: 'Allowed are 1000 to 3600000 ms.',
      isRetryable: false,
      cause,
    });
  });

  test('has neither cause nor remedy unless given one', () => {
    const error = new HowdahError('HOWDAH_DATABASE_UNAVAILABLE', 'Gone.');
    expect('cause' in error).toBe(false);
    expect(error.remedy).toBeUndefined();
    expect(error.details).toEqual({});
    expect(error.isRetryable).toBe(true);
  });
});
