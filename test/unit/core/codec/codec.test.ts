import { describe, expect, test } from 'vitest';
import {
  type Codec,
  type CodecContext,
  Codecs,
  checkCodecs,
  codecsOf,
  DECODED_CHARS_MAX,
  decodeField,
  isEnvelope,
} from '../../../../src/core/codec/codec.js';
import { decodeErrors, encodeError } from '../../../../src/core/codec/error-codec.js';
import { jobEncoder } from '../../../../src/core/job/job-text.js';
import { isPermanent, PermanentError } from '../../../../src/core/job/outcome.js';
import { queue } from '../../../../src/core/queue/queue.js';

const seen: CodecContext[] = [];
const reversing: Codec = {
  id: 'reversing',
  encode: (text, context) => {
    seen.push(context);
    return [...text].reverse().join('');
  },
  decode: (encoded) => [...encoded].reverse().join(''),
  dedupeKey: (key, { queue: name }) => `${name}/${key}`,
};
const codecs = new Codecs([reversing], 'howdah');
const failing = (fail: () => never): Codecs =>
  new Codecs([{ id: 'failing', encode: fail, decode: fail }], 'howdah');
const codeOf = (code: string) => expect.objectContaining({ code });

describe('values', () => {
  test('are stored in an envelope and come back', () => {
    const stored = JSON.parse(codecs.encode('payload', '{"a":"ä\\n"}', { queue: 'q' }));
    expect(stored).toEqual({ $howdah: 'reversing', queue: 'q', data: '}"n\\ä":"a"{' });
    expect(isEnvelope(stored)).toBe(true);
    expect(decodeField(codecs, 'payload', stored, { foundIn: 'q' })).toEqual({ a: 'ä\n' });
  });

  test('that are plain pass, the same object', () => {
    const plain = { a: 1 };
    expect(decodeField(codecs, 'payload', plain, { foundIn: 'q' })).toBe(plain);
    expect(decodeField(undefined, 'payload', plain, { foundIn: 'q' })).toBe(plain);
    for (const value of [null, 1, 'x', [], { $howdah: 1 }, { $howdah: 'x', data: 'y' }]) {
      expect(isEnvelope(value)).toBe(false);
    }
  });

  test('may be left as they are', () => {
    const lazy = new Codecs([{ ...reversing, encode: () => undefined }], 'howdah');
    expect(lazy.encode('payload', '[1]', { queue: 'q' })).toBe('[1]');
  });

  test('are decoded for the queue that columns name; what they say of themselves is told apart', () => {
    const contexts: CodecContext[] = [];
    const watching = new Codecs(
      [
        {
          ...reversing,
          decode: (_, context) => {
            contexts.push(context);
            return '1';
          },
        },
      ],
      's',
    );
    const stored = JSON.parse(watching.encode('result', '1', { queue: 'orders', jobId: '7' }));
    const place = { foundIn: 'dead-letters', jobId: '7' };
    watching.decode('result', stored, { ...place, queue: 'invoices' });
    watching.decode('result', stored, place);
    expect(contexts.map(({ queue }) => queue)).toEqual(['invoices', 'dead-letters']);
    expect(contexts.slice(0, 1)).toEqual([
      {
        schema: 's',
        queue: 'invoices',
        statedQueue: 'orders',
        field: 'result',
        jobId: '7',
        foundIn: 'dead-letters',
        headers: undefined,
      },
    ]);
  });

  test('of several codecs: the first encodes, all decode', () => {
    const other: Codec = { id: 'other', encode: (text) => `o${text}`, decode: (t) => t.slice(1) };
    const both = new Codecs([other, reversing], 'howdah');
    expect(JSON.parse(both.encode('payload', '1', { queue: 'q' }))).toMatchObject({ data: 'o1' });
    const old = JSON.parse(codecs.encode('payload', '[2]', { queue: 'q' }));
    expect(decodeField(both, 'payload', old, { foundIn: 'q' })).toEqual([2]);
  });
});

describe('a codec that fails', () => {
  const boom = failing(() => {
    throw new Error('no key');
  });

  test('is named, with the field', () => {
    const error = codeOf('HOWDAH_CODEC_FAILED');
    expect(() => boom.encode('payload', '1', { queue: 'q' })).toThrow(error);
    expect(() => boom.encode('payload', '1', { queue: 'q' })).toThrow(
      'Codec failing could not encode the payload.',
    );
    const envelope = { $howdah: 'failing', queue: 'q', data: 'x' };
    expect(() => boom.decode('payload', envelope, { foundIn: 'q' })).toThrow(error);
  });

  test.for([1, null, {}, 'a\0b', '\ud800'])('encode returned %j', (value) => {
    const odd = new Codecs([{ ...reversing, encode: () => value as string }], 's');
    expect(() => odd.encode('payload', '1', { queue: 'q' })).toThrow(codeOf('HOWDAH_CODEC_FAILED'));
  });

  test.for([undefined, 1, 'not json', ''])('decode returned %j', (value) => {
    const odd = new Codecs([{ ...reversing, decode: () => value as string }], 's');
    const envelope = { $howdah: 'reversing', queue: 'q', data: 'x' };
    expect(() => odd.decode('payload', envelope, { foundIn: 'q' })).toThrow(
      codeOf('HOWDAH_CODEC_FAILED'),
    );
  });

  test.for([
    ['payload', DECODED_CHARS_MAX.payload],
    ['headers', DECODED_CHARS_MAX.other],
  ] as const)('%s decoded to more than %i characters', ([field, max]) => {
    const text = (length: number): string => `"${'x'.repeat(length - 2)}"`;
    const expanding = (length: number) =>
      new Codecs([{ ...reversing, decode: () => text(length) }], 's');
    const envelope = { $howdah: 'reversing', queue: 'q', data: 'x' };
    expect(expanding(max).decode(field, envelope, { foundIn: 'q' })).toHaveLength(max - 2);
    const error = caught(() => expanding(max + 1).decode(field, envelope, { foundIn: 'q' }));
    expect(error).toMatchObject({ code: 'HOWDAH_CODEC_FAILED', details: { way: 'decode' } });
    expect(isPermanent(error)).toBe(true);
  });

  test('a value decoded to more levels than are taken', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    const deep = (depth: number) =>
      new Codecs([{ ...reversing, decode: () => nested(depth) }], 's');
    const envelope = { $howdah: 'reversing', queue: 'q', data: 'x' };
    expect(deep(501).decode('payload', envelope, { foundIn: 'q' })).toBeInstanceOf(Array);
    for (const depth of [502, 100_000]) {
      const error = caught(() => deep(depth).decode('payload', envelope, { foundIn: 'q' }));
      expect(error).toMatchObject({ code: 'HOWDAH_CODEC_FAILED' });
      expect(isPermanent(error)).toBe(true);
    }
  });

  test('may say that no retry helps', () => {
    const broken = failing(() => {
      throw new PermanentError('torn');
    });
    const envelope = { $howdah: 'failing', queue: 'q', data: 'x' };
    expect(() => broken.decode('payload', envelope, { foundIn: 'q' })).toThrow(PermanentError);
  });

  test('one that is not there', () => {
    const foreign = { $howdah: 'foreign', queue: 'q', data: 'x' };
    for (const known of [codecs, undefined]) {
      expect(() => decodeField(known, 'payload', foreign, { foundIn: 'q' })).toThrow(
        codeOf('HOWDAH_CODEC_UNKNOWN'),
      );
    }
  });

  test('an error that cannot be encoded is not stored as it is', () => {
    const stored = encodeError(boom, { name: 'E', message: 'secret' }, { queue: 'q' });
    expect(JSON.stringify(stored)).not.toContain('secret');
    expect(stored).toMatchObject({ name: 'E', code: 'HOWDAH_CODEC_FAILED' });
  });
});

test('errors keep the name of their class readable, and come back whole', () => {
  const error = { name: 'TypeError', message: 'secret', stack: 'secret stack' };
  const stored = encodeError(codecs, error, { queue: 'q', jobId: '1' });
  expect(JSON.stringify(stored)).not.toContain('secret');
  expect(stored).toMatchObject({ name: 'TypeError', message: 'encoded by reversing' });
  const plain = { message: 'of the reaper', attempt: 1, at: 'then' };
  const foreign = { $howdah: 'foreign', queue: 'q', data: 'x', message: 'm', attempt: 3, at: 'z' };
  const list = [plain, { ...stored, attempt: 2, at: 'now' } as never, foreign];
  expect(decodeErrors(codecs, list, { foundIn: 'q' })).toEqual([
    plain,
    { ...error, attempt: 2, at: 'now' },
    foreign,
  ]);
  expect(decodeErrors(undefined, list, { foundIn: 'q' })).toBe(list);
});

test('a job is encoded: payload, headers and dedupe key, and the codec sees the headers', () => {
  seen.length = 0;
  const options = { headers: { tenant: 'a' }, dedupe: { key: 'k' } };
  const job = JSON.parse(jobEncoder('q', options, 0, codecs)({ n: 1 }) as string);
  expect(job).toMatchObject({
    payload: { $howdah: 'reversing', queue: 'q', data: '}1:"n"{' },
    headers: { $howdah: 'reversing', queue: 'q' },
    dedupe: { key: 'q/k' },
  });
  const fields = seen.map(({ field, headers }) => [field, headers]);
  expect(fields).toEqual([
    ['headers', { tenant: 'a' }],
    ['payload', { tenant: 'a' }],
  ]);
});

test('the bounds are for what is stored', () => {
  const double = new Codecs([{ ...reversing, encode: (text) => text + text }], 's');
  const small = queue('small', { payloadBytesMax: 100 });
  expect(() => jobEncoder(small, {}, 0, double)('x'.repeat(60))).toThrow(
    codeOf('HOWDAH_PAYLOAD_TOO_LARGE'),
  );
  const headers = { a: 'x'.repeat(9_000) };
  expect(() => jobEncoder('q', { headers }, 0, double)).toThrow(codeOf('HOWDAH_HEADERS_INVALID'));
});

test('the reserved key is refused in payload and headers', () => {
  const odd = { $howdah: 'x' };
  expect(() => jobEncoder('q', {}, 0)(odd)).toThrow(codeOf('HOWDAH_PAYLOAD_INVALID'));
  expect(() => jobEncoder('q', { headers: odd }, 0)).toThrow(codeOf('HOWDAH_HEADERS_INVALID'));
});

test('without a codec there is nothing to call', () => {
  expect(codecsOf(undefined, 's')).toBeUndefined();
  expect(codecsOf([], 's')).toBeUndefined();
  expect(codecsOf(reversing, 's')).toBeInstanceOf(Codecs);
});

test.for([
  1,
  null,
  {},
  { ...reversing, id: 'Upper' },
  { ...reversing, id: '' },
  { ...reversing, encode: 1 },
  [reversing, reversing],
  Array.from({ length: 17 }, (_, i) => ({ ...reversing, id: `c${i}` })),
])('option %j is refused', (option) => {
  expect(() => checkCodecs(option as never)).toThrow(codeOf('HOWDAH_OPTION_INVALID'));
});

function caught(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}
