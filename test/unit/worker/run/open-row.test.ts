import { expect, test } from 'vitest';
import { type Codec, Codecs } from '../../../../src/core/codec/codec.js';
import type { ClaimedRow } from '../../../../src/db/calls/claim.js';
import { openRow } from '../../../../src/worker/run/open-row.js';

const codec: Codec = { id: 'x', encode: (text) => text, decode: (encoded) => encoded };
const codecs = new Codecs([codec], 'howdah');
const encoded = (value: unknown) => ({ $howdah: 'x', queue: 'q', data: JSON.stringify(value) });
const error = { message: 'no', attempt: 1, at: 'then' };

const rowWith = (payload: unknown, headers: object | null, errors: object[] | null): ClaimedRow =>
  ['7', payload, 5, 10, 201, [9, 2, 0, false, null, headers, errors, 'g']] as never;

test('a row of which nothing is encoded is itself, with a codec or without', () => {
  const rows: ClaimedRow[] = [['7', { a: 1 }, 5, 10, 201, null], rowWith([1], { h: 1 }, [error])];
  for (const row of rows) {
    expect(openRow(row, 'q', codecs)).toBe(row);
    expect(openRow(row, 'q', undefined)).toBe(row);
  }
});

test('what is encoded is decoded, the rest stays', () => {
  const plain = rowWith({ a: 1 }, { h: 1 }, [error]);
  const stored = { ...encoded({ message: 'no' }), message: 'encoded', attempt: 1, at: 'then' };
  expect(openRow(rowWith(encoded({ a: 1 }), { h: 1 }, [error]), 'q', codecs)).toEqual(plain);
  expect(openRow(rowWith({ a: 1 }, encoded({ h: 1 }), [error]), 'q', codecs)).toEqual(plain);
  expect(openRow(rowWith({ a: 1 }, { h: 1 }, [stored]), 'q', codecs)).toEqual(plain);
  const bare: ClaimedRow = ['7', encoded('text'), 5, 10, 201, null];
  expect(openRow(bare, 'q', codecs)).toEqual(['7', 'text', 5, 10, 201, null]);
});

test('an encoded row without its codec is refused, but for an error of an earlier attempt', () => {
  const foreign = { $howdah: 'foreign', queue: 'q', data: 'x' };
  for (const row of [rowWith(foreign, null, null), rowWith(1, foreign, null)]) {
    expect(() => openRow(row, 'q', codecs)).toThrow(
      expect.objectContaining({ code: 'HOWDAH_CODEC_UNKNOWN' }),
    );
  }
  const row = rowWith(1, null, [{ ...foreign, ...error }]);
  expect(openRow(row, 'q', codecs)[5]?.[6]).toEqual([{ ...foreign, ...error }]);
});
