import { expect, test } from 'vitest';
import { encodeLogLine } from '../../../../src/core/codec/log-line.js';

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

test('a line that is too large when it is encoded keeps its text up to the bound', () => {
  const seal = (text: string): string =>
    JSON.stringify({ $howdah: 'x', queue: 'q', data: Buffer.from(text).toString('base64') });
  const open = (message: string, fields?: unknown): { message: string; fields?: unknown } => {
    const line = JSON.parse(encodeLogLine('info', message, fields, seal)(0));
    expect(line.message).toBe('');
    expect(Buffer.byteLength(JSON.stringify(line.fields))).toBeLessThanOrEqual(4096);
    return JSON.parse(Buffer.from(line.fields.data, 'base64').toString());
  };
  expect(open('short', { n: 1 })).toEqual({ message: 'short', fields: { n: 1 } });
  const lost = { howdah: 'fields not kept' };
  expect(open('a'.repeat(2000), { text: 'b'.repeat(2000) })).toEqual({
    message: 'a'.repeat(2000),
    fields: lost,
  });
  for (const [text, length] of [
    ['a'.repeat(4000), 2800],
    ['\u{1F600}'.repeat(2000), 1300],
    ['"'.repeat(4000), 1300],
  ] as const) {
    const { message } = open(text);
    expect(message.endsWith('…')).toBe(true);
    expect(message.length).toBeGreaterThan(length);
    expect(text.startsWith(message.slice(0, -2))).toBe(true);
    expect(message.isWellFormed()).toBe(true);
  }
  const heavy = (text: string): string => JSON.stringify({ data: text + ' '.repeat(5000) });
  const line = JSON.parse(encodeLogLine('info', 'x', undefined, heavy)(0));
  expect(line.message).toBe('a line that is too large when it is encoded');
});
