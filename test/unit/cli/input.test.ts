import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { csvRows } from '../../../src/cli/input/csv.js';
import { jsonLines } from '../../../src/cli/input/json-lines.js';
import { LineSplitter } from '../../../src/cli/input/lines.js';
import { type InputRecord, isBad, type RecordSource } from '../../../src/cli/input/record.js';

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(source: RecordSource): Promise<InputRecord[]> {
  const records: InputRecord[] = [];
  for await (const block of source) for (const record of block) records.push(record);
  return records;
}

function csv(text: string | Buffer, size = 7): Promise<InputRecord[]> {
  return all(csvRows(inChunks(Buffer.from(text), size), ','));
}

/** `3: {...}` or `3! problem`. */
function brief(records: readonly InputRecord[]): string[] {
  return records.map((each) =>
    isBad(each) ? `${each.line}! ${each.problem}` : `${each.line}: ${JSON.stringify(each.value)}`,
  );
}

describe('lines', () => {
  test('are the same however the bytes come in chunks', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 10 }), (text, size) => {
        const bytes = Buffer.from(text.toWellFormed());
        const splitter = new LineSplitter();
        const lines: string[] = [];
        for (let at = 0; at < bytes.length; at += size) {
          for (const line of splitter.push(bytes.subarray(at, at + size)))
            lines.push(`${line.bytes}`);
        }
        for (const line of splitter.end()) lines.push(`${line.bytes}`);
        const expected = text
          .toWellFormed()
          .replace(/^\ufeff/, '')
          .split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(lines).toEqual(expected.map((line) => line.replace(/\r$/, '')));
      }),
    );
  });

  test('one that is too long is cut, reported, and the next is read', () => {
    const splitter = new LineSplitter(10);
    const lines = [
      ...splitter.push(Buffer.from('12345678')),
      ...splitter.push(Buffer.from('90123\nok\n')),
    ];
    expect(lines.map(({ number, problem }) => [number, problem])).toEqual([
      [1, 'is longer than 10 bytes'],
      [2, undefined],
    ]);
    expect(String(lines[1]?.bytes)).toBe('ok');
  });
});

describe('JSON lines', () => {
  test('blank lines, line ends of both kinds, a byte order mark, malformed lines', async () => {
    const bytes = Buffer.concat([
      Buffer.from('\ufeff1\r\n\n  \n{"a":[2]}\n{x}\n'),
      Buffer.from([0xff, 0x0a]),
      Buffer.from('"Zürich"'),
    ]);
    expect(brief(await all(jsonLines(inChunks(bytes, 3))))).toEqual([
      '1: 1',
      '4: {"a":[2]}',
      expect.stringMatching(/^5! is not JSON: /),
      '6! is not UTF-8',
      '7: "Zürich"',
    ]);
  });
});

describe('CSV', () => {
  test('a quote that stays open costs its own line only, before 300,000 others', async () => {
    const rows = Array.from({ length: 300_000 }, (_, i) => `${i},x`).join('\n');
    const records = await all(
      csvRows(inChunks(Buffer.from(`id,b\n1,"open\n${rows}\n`), 65_536), ','),
    );
    expect(records).toHaveLength(300_001);
    expect(records[0]).toMatchObject({ line: 2, problem: 'has a quote that is not closed' });
    expect(records.at(-1)).toMatchObject({ line: 300_002, value: { id: '299999', b: 'x' } });
  });

  test('what is read behind an open quote is bounded, also where it is empty lines', async () => {
    let read = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      yield Buffer.from('id,b\n1,"open\n');
      for (; read < 100; read += 1) yield Buffer.alloc(65_536, '\n');
    }
    for await (const block of csvRows(endless(), ',')) {
      if (block.length > 0) break;
    }
    expect(read).toBeLessThan(20);
  });

  test('quotes, line breaks in fields, empty fields', async () => {
    const text = 'a,b\r\n1,\r\n"x, ""y""","two\r\nlines"\r\n\r\n,"',
      records = await csv(`${text}"`);
    expect(brief(records)).toEqual([
      '2: {"a":"1","b":""}',
      '3: {"a":"x, \\"y\\"","b":"two\\nlines"}',
      '6: {"a":"","b":""}',
    ]);
  });

  test('a malformed line costs that line only', async () => {
    const records = await csv(
      ['a,b', '1,2', 'short', '3,"x"y', '4,5', '6,"open', '7,8', '9,"10"', '11,1"2', '13,14'].join(
        '\n',
      ),
    );
    expect(brief(records)).toEqual(
      [
        '2: {"a":"1","b":"2"}',
        '3! has 1 fields where the header has 2',
        '4! has a quote in the wrong place',
        '5: {"a":"4","b":"5"}',
        '6! has a quote that is not closed',
        '7: {"a":"7","b":"8"}',
        '8: {"a":"9","b":"10"}',
        '9! has a quote in the wrong place',
        '10: {"a":"13","b":"14"}',
      ].map((line) =>
        line.startsWith('6!') || line.startsWith('9!') ? expect.stringMatching(/quote/) : line,
      ),
    );
  });

  test('bytes that are not UTF-8 cost their line only', async () => {
    const bytes = Buffer.concat([
      Buffer.from('a\n1\n'),
      Buffer.from([0xff, 0x0a]),
      Buffer.from('2\n'),
    ]);
    expect(brief(await csv(bytes))).toEqual(['2: {"a":"1"}', '3! is not UTF-8', '4: {"a":"2"}']);
  });

  test('a header alone, or nothing, has no rows', async () => {
    expect(await csv('a,b\n')).toEqual([]);
    expect(await csv('')).toEqual([]);
  });

  test.for([
    ['a,a\n1,2', 'column a twice'],
    ['a,\n1,2', 'a column without a name'],
    ['__proto__,b\n1,2', 'column __proto__'],
    ['"a,b\n1,2', 'not closed'],
  ])('header %j is refused', async ([text = '', problem = '']) => {
    await expect(csv(text)).rejects.toThrow(problem);
  });

  test('any table survives writing and reading, however it comes in chunks', async () => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', ' ', 'ü', '1') });
    const table = fc.array(fc.tuple(field, field), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 50 }), async (rows, size) => {
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const text = [['x', 'y'], ...rows].map((row) => row.map(quote).join(',')).join('\r\n');
        const records = await csv(text, size);
        const values = records.map((each) => (isBad(each) ? each.problem : each.value));
        expect(values).toEqual(rows.map(([x, y]) => ({ x, y })));
      }),
    );
  });
});
