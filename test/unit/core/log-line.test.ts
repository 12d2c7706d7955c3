import { expect, test } from 'vitest';
import { encodeLogLine } from '../../../src/core/log-line.js';

const read = (message: unknown, fields?: unknown): Record<string, unknown> =>
  JSON.parse(encodeLogLine('info', message, fields)(12.4));

test('a line has its age, level, message and fields', () => {
  expect(read('hello', { n: 1 })).toEqual({
    ago_ms: 12,
    level: 'info',
    message: 'hello',
    fields: { n: 1 },
  });
  expect(read('hello')).toEqual({ ago_ms: 12, level: 'info', message: 'hello' });
  expect(JSON.parse(encodeLogLine('warn', 'x', undefined)(-5)).ago_ms).toBe(0);
});

test('whatever a handler logs becomes JSON that fits and that jsonb accepts', () => {
  const hostile = {
    get x(): never {
      throw new Error('no');
    },
  };
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const unreadable = {
    toString(): never {
      throw new Error('no');
    },
  };
  expect(read('a\0b\ud800').message).toBe('a\uFFFDb\uFFFD');
  expect(read('x'.repeat(10_000)).message).toHaveLength(4096);
  expect(read(unreadable).message).toBe('a message that cannot be read');
  expect(read(undefined).message).toBe('undefined');
  for (const fields of [cycle, hostile, { 'a\0': 1 }, () => 1]) {
    expect(read('x', fields).fields).toEqual({ howdah: 'fields that are no JSON not kept' });
  }
  expect(read('x', { text: 'é'.repeat(3000) }).fields).toEqual({
    howdah: 'fields of 6011 bytes not kept',
  });
  expect(read('x', { e: new TypeError('bad\0'), n: 1n, s: 'a\0' }).fields).toEqual({
    e: { name: 'TypeError', message: 'bad\uFFFD' },
    n: '1',
    s: 'a\uFFFD',
  });
});
