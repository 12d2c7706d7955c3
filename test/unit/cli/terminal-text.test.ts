import { expect, onTestFinished, test, vi } from 'vitest';
import { Output } from '../../../src/cli/output.js';
import { describeError } from '../../../src/cli/report-error.js';
import { alignColumns, harmless, visible } from '../../../src/cli/terminal-text.js';
import { jsonLogger } from '../../../src/telemetry/logger.js';

/** What would colour, erase, hide, turn round or break a line. */
const HOSTILE = 'a\u001b[2J\u009b31m\u007f\u0000\u202e\u2066\u200f\u061c\u2028\u2029\ufeffz';
const COMMANDS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

function written(): string[] {
  const lines: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    lines.push(String(text));
    return true;
  });
  onTestFinished(() => spy.mockRestore());
  return lines;
}

test.for([
  ['table', false, true],
  ['tsv', false, false],
  ['json', true, true],
] as const)('nothing that is written as %s commands a terminal', ([mode, isJson, isTTY]) => {
  const lines = written();
  const output = new Output(isJson, { isTTY } as NodeJS.WriteStream);
  expect(output.mode).toBe(mode);
  output.list(
    [{ reason: HOSTILE, more: { [HOSTILE]: HOSTILE } }],
    [{ key: 'reason' }, { key: 'more' }],
  );
  output.record({ key: HOSTILE, more: [HOSTILE] });
  output.remark(`paused (${HOSTILE})`);
  output.line(HOSTILE);
  output.json({ HOSTILE });
  expect(lines.length).toBeGreaterThan(3);
  for (const line of lines) expect(line).not.toMatch(COMMANDS);
});

test('JSON means the same as before', () => {
  const lines = written();
  new Output(true).json({ [HOSTILE]: HOSTILE });
  expect(JSON.parse(lines.join(''))).toEqual({ [HOSTILE]: HOSTILE });
});

test('TSV means the same as before, to whoever reads it as COPY does', () => {
  const lines = written();
  const output = new Output(false, { isTTY: false } as NodeJS.WriteStream);
  const text = `${HOSTILE}\\x1b \t\n\r\\`;
  output.list([{ text, n: 1 }], [{ key: 'text' }, { key: 'n' }]);
  const [, row = ''] = lines;
  expect(row.match(/\t/g)).toHaveLength(1);
  expect(readByCopy(row.slice(0, row.indexOf('\t')))).toBe(text);
});

/** A value of COPY's text format: a backslash and a letter, or x and two digits of a byte. */
function readByCopy(cell: string): string {
  const bytes = cell.replace(/\\x([0-9a-f]{2})|\\(.)|[^\\]+/gs, (found, hex, letter) => {
    if (hex) return hex;
    if (letter) found = { t: '\t', n: '\n', r: '\r' }[letter as string] ?? letter;
    return Buffer.from(found).toString('hex');
  });
  return Buffer.from(bytes, 'hex').toString();
}

test('errors with their stacks, and JSON of the log, are harmless too', () => {
  const error = new Error(HOSTILE, { cause: new Error(`${HOSTILE}\n    at here`) });
  expect(describeError(error, true)).toContain('at here');
  expect(describeError(error, true)).not.toMatch(COMMANDS);
  let line = '';
  const logger = jsonLogger({
    write: (text) => {
      line = text;
    },
  });
  logger.warn(HOSTILE, { error, [HOSTILE]: 1 });
  expect(line).not.toMatch(COMMANDS);
  expect(JSON.parse(line).message).toBe(HOSTILE);
});

test('what is shown says which characters there were', () => {
  expect(visible('a\u001b\n\t\u202eb')).toBe('a\\x1b⏎ \\u202eb');
  expect(harmless('a\u001b\n\tb\r')).toBe('a\\x1b\n\tb\\x0d');
});

test('hundreds of thousands of rows are aligned', () => {
  const rows = Array.from({ length: 300_000 }, () => ['a', 'b']);
  expect(alignColumns([['long', 'x'], ...rows], [false, false])[1]).toBe('a     b');
});
