import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { encodePayload, validatePayload } from '../../../../src/core/job/payload.js';
import type { StandardSchema } from '../../../../src/core/job/standard-schema.js';
import { queue } from '../../../../src/core/queue/queue.js';

const email = queue('email', {
  schema: z.object({ to: z.email(), at: z.coerce.date().optional(), tries: z.number().default(1) }),
});

/** A schema made by hand: a positive number, checked now or later. */
function positive(isAsync: boolean): StandardSchema<number, number> {
  const check = (value: unknown) =>
    typeof value === 'number' && value > 0 ? { value } : { issues: [{ message: 'not positive' }] };
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) => (isAsync ? Promise.resolve(check(value)) : check(value)),
    },
  };
}

describe('encodePayload', () => {
  test('stores what was handed over, not what the schema made of it', () => {
    const at = new Date('2027-01-31T09:00:00Z');
    expect(encodePayload(email, { to: 'a@b.co', at })).toBe(
      '{"to":"a@b.co","at":"2027-01-31T09:00:00.000Z"}',
    );
  });

  test('refuses what the schema refuses, naming each issue', () => {
    expect(() => encodePayload(email, { to: 'x', tries: 'y' })).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_PAYLOAD_INVALID',
        message: expect.stringMatching(/queue email: to: .*; tries: /),
        details: { queue: 'email', issues: [expect.any(String), expect.any(String)] },
      }),
    );
  });

  test('refuses what the handler would refuse because JSON has changed it', () => {
    const strict = queue('strict', { schema: z.object({ at: z.date() }) });
    expect(() => encodePayload(strict, { at: new Date() })).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_PAYLOAD_INVALID',
        message: expect.stringMatching(/only until it is JSON: at: .*z\.coerce\.date/),
      }),
    );
  });

  test('knows synchronous and asynchronous schemas made by hand', async () => {
    expect(encodePayload(queue('n', { schema: positive(false) }), 3)).toBe('3');
    expect(await encodePayload(queue('n', { schema: positive(true) }), 3)).toBe('3');
    await expect(encodePayload(queue('n', { schema: positive(true) }), -3)).rejects.toMatchObject({
      code: 'HOWDAH_PAYLOAD_INVALID',
      details: { issues: ['not positive'] },
    });
  });

  test('a schema that throws or rejects is told apart from a bad payload', async () => {
    const broken = (validate: () => never | Promise<never>): StandardSchema => ({
      '~standard': { version: 1, vendor: 'test', validate },
    });
    const cause = new Error('boom');
    const throwing = queue('b', {
      schema: broken(() => {
        throw cause;
      }),
    });
    expect(() => encodePayload(throwing, 1)).toThrow(expect.objectContaining({ cause }));
    const rejecting = queue('b', { schema: broken(() => Promise.reject(cause)) });
    await expect(encodePayload(rejecting, 1)).rejects.toMatchObject({ cause });
  });

  test('counts bytes, not characters, against the declared bound', () => {
    const small = queue('small', { payloadBytesMax: 10 });
    expect(encodePayload(small, '12345678')).toBe('"12345678"');
    expect(encodePayload(small, 'ää€')).toBe('"ää€"');
    expect(() => encodePayload(small, 'ää€€')).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_PAYLOAD_TOO_LARGE',
        details: { queue: 'small', bytes: 12, max: 10 },
      }),
    );
  });
});

describe('validatePayload', () => {
  test('returns what the schema makes of the payload', () => {
    const payload = validatePayload(email, { to: 'a@b.co', at: '2027-01-31T09:00:00Z' });
    expect(payload).toEqual({ to: 'a@b.co', at: new Date('2027-01-31T09:00:00Z'), tries: 1 });
    expect(validatePayload(queue<{ id: number }>('plain'), { id: 1 })).toEqual({ id: 1 });
  });
});
