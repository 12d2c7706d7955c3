import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SNAPSHOT_BYTES_MAX, snapshotError } from '../../../../src/core/codec/error-snapshot.js';

function bytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

describe('snapshotError', () => {
  test('keeps name, message, code and the frames of an error', () => {
    const error = Object.assign(new TypeError('no such table'), { code: '42P01' });
    const snapshot = snapshotError(error);
    expect(snapshot).toMatchObject({
      name: 'TypeError',
      message: 'no such table',
      code: '42P01',
    });
    expect(snapshot.stack).toMatch(/^TypeError: no such table\n {4}at .*error-snapshot\.test\.ts/);
  });

  test.each([
    [undefined, 'undefined was thrown'],
    [null, 'null was thrown'],
    [42, '42 was thrown'],
    [10n, '10 was thrown'],
    [Symbol('s'), 'Symbol(s) was thrown'],
    ['', 'empty text'],
    ['plain text', 'plain text'],
    [{ reason: 'quota' }, '{"reason":"quota"}'],
    [{}, 'an object without a message was thrown'],
    [() => 1, 'an object without a message was thrown'],
  ])('describes a thrown %s', (thrown, message) => {
    expect(snapshotError(thrown).message).toBe(message);
  });

  test('a message of 10 MB fits', () => {
    const snapshot = snapshotError(new Error('x'.repeat(10_000_000)));
    expect(bytes(snapshot)).toBeLessThanOrEqual(SNAPSHOT_BYTES_MAX);
    expect(snapshot.message).toMatch(/^x{2999}…$/);
    expect(snapshot.stack).toMatch(/ {4}at /);
  });

  test('cycles, throwing getters and revoked proxies are survived', () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const getter = new Error('x');
    for (const key of ['stack', 'message', 'code', 'name']) {
      Object.defineProperty(getter, key, {
        get() {
          throw new Error('no');
        },
      });
    }
    for (const thrown of [cycle, proxy, getter]) {
      expect(snapshotError(thrown).message).not.toBe('');
    }
  });

  test('nothing that jsonb refuses is kept', () => {
    const { message } = snapshotError(new Error('a\0b\ud800c'));
    expect(message).toBe('a\uFFFDb\uFFFDc');
  });

  test('any value gives a bounded, storable snapshot', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          fc.string({ unit: 'binary', maxLength: 20_000 }).map((text) => new Error(text)),
          fc.record({
            name: fc.string({ unit: 'binary' }),
            message: fc.anything(),
            code: fc.anything(),
          }),
        ),
        (thrown) => {
          const text = JSON.stringify(snapshotError(thrown));
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(SNAPSHOT_BYTES_MAX);
          expect(text).not.toMatch(/(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/);
        },
      ),
    );
  });
});
