import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../src/core/errors.js';
import { encodeJson, JSON_DEPTH_MAX } from '../../../src/core/json.js';

function refusal(value: unknown): HowdahError {
  try {
    encodeJson(value, 'payload');
  } catch (error) {
    if (error instanceof HowdahError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

const cycle: { a: { b: unknown[] } } = { a: { b: [] } };
cycle.a.b.push(cycle);

describe('encodeJson', () => {
  test.each([
    [null, 'null'],
    [0, '0'],
    ['', '""'],
    [{ a: 1, b: undefined }, '{"a":1}'],
    [[1, [2, { c: null }]], '[1,[2,{"c":null}]]'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
    [
      new (class Email {
        to = 'a@b.c';
      })(),
      '{"to":"a@b.c"}',
    ],
    [new URL('https://a.b/c'), '"https://a.b/c"'],
    [Buffer.from('hi'), '{"type":"Buffer","data":[104,105]}'],
    [{ 'text with \\u0000 spelt out': '\\ud800' }, '{"text with \\\\u0000 spelt out":"\\\\ud800"}'],
    ['😀 \u2028', '"😀 \u2028"'],
    [{ when: { toJSON: () => 'x' } }, '{"when":"x"}'],
  ])('%# keeps what JSON can carry', (value, text) => {
    expect(encodeJson(value, 'payload')).toBe(text);
  });

  test.each([
    ['undefined', undefined, '', 'undefined'],
    ['a function', () => 1, '', 'function'],
    ['a symbol', Symbol('x'), '', 'symbol'],
    ['BigInt', { n: 1n }, '.n', 'BigInt'],
    ['NaN', { a: [1, Number.NaN] }, '.a[1]', 'NaN'],
    ['Infinity', [Number.NEGATIVE_INFINITY], '[0]', '-Infinity'],
    ['a cycle', cycle, '.a.b[0]', 'cycle'],
    ['\\u0000', { a: { b: 'x\0y' } }, '.a.b', 'u0000'],
    ['\\u0000 in a key', { a: { 'b\0': 1 } }, '.a.b\\u0000', 'u0000'],
    ['a lone surrogate', ['ok', '\ud800'], '[1]', 'surrogate'],
    ['a nested function', { a: { run: () => 1 } }, '.a.run', 'function'],
    ['undefined in an array', [1, undefined], '[1]', 'undefined'],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    ['a hole in an array', [1, , 2], '[1]', 'undefined'],
    ['a Map', { m: new Map([[1, 2]]) }, '.m', 'Map'],
    ['a Set', new Set([1]), '', 'Set'],
    ['an Error', { e: new Error('x') }, '.e', 'Error'],
    ['a RegExp', /x/, '', 'RegExp'],
    ['a Promise', { p: Promise.resolve(1) }, '.p', 'Promise'],
    ['a typed array', new Uint8Array(2), '', 'Uint8Array'],
    ['an ArrayBuffer', new ArrayBuffer(2), '', 'ArrayBuffer'],
    ['an invalid Date', { d: new Date(Number.NaN) }, '.d', 'invalid Date'],
    ['a toJSON without answer', { d: { toJSON: () => undefined } }, '.d', 'undefined'],
    ['flaws behind toJSON', { d: { toJSON: () => ({ x: new Map() }) } }, '.d.x', 'Map'],
    [
      'a toJSON that throws',
      {
        toJSON: () => {
          throw new Error('no');
        },
      },
      '',
      'no',
    ],
  ])('refuses %s and names its place', (_, value, path, problem) => {
    const error = refusal(value);
    expect(error.code).toBe('HOWDAH_PAYLOAD_INVALID');
    expect(error.details.path).toBe(path);
    expect(error.message).toContain(`payload${path} cannot be stored`);
    expect(error.message).toContain(problem);
  });

  test('bounds the depth, whether the runtime could go deeper or not', () => {
    const nested = (levels: number) => {
      let value: unknown = 1;
      for (let i = 0; i < levels; i++) value = [value];
      return value;
    };
    expect(encodeJson(nested(JSON_DEPTH_MAX), 'payload')).toHaveLength(2 * JSON_DEPTH_MAX + 1);
    expect(refusal(nested(JSON_DEPTH_MAX + 2)).message).toContain('nested deeper');
    expect(refusal(nested(200_000)).message).toContain('nested deeper');
  });

  test('respects a toJSON the application gave BigInt', () => {
    Object.defineProperty(BigInt.prototype, 'toJSON', {
      configurable: true,
      value: function (this: bigint) {
        return this.toString();
      },
    });
    try {
      expect(encodeJson({ n: 12n }, 'payload')).toBe('{"n":"12"}');
    } finally {
      Reflect.deleteProperty(BigInt.prototype, 'toJSON');
    }
  });

  test('names the path within bounds', () => {
    const error = refusal({ ['k'.repeat(100_000)]: { x: Number.NaN } });
    expect(error.message.length).toBeLessThan(600);
  });

  test('every JSON value comes through unchanged', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const hostile = /\\u(?:0000|d[89a-f])/.test(JSON.stringify(value));
        fc.pre(!hostile);
        expect(encodeJson(value, 'payload')).toBe(JSON.stringify(value));
      }),
    );
  });

  test('text is refused exactly when jsonb would refuse it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', '\\', 'u0000', '\0', '\ud83d', '\ude00', 'ud800', '"')),
        (parts) => {
          const text = parts.join('');
          const isGood = !text.includes('\0') && text.isWellFormed();
          if (isGood) expect(JSON.parse(encodeJson([text], 'payload'))).toEqual([text]);
          else expect(() => encodeJson([text], 'payload')).toThrow(HowdahError);
        },
      ),
      { numRuns: 500 },
    );
  });
});
