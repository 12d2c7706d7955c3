import { parse } from 'csv-parse/sync';
import { HowdahError } from '../../core/errors.js';
import { isBlank, LINE_BYTES_MAX, type Line, LineSplitter } from './lines.js';
import { bad, type InputRecord, type RecordSource } from './record.js';

/** A quoted field may go over several lines; what is longer than this has lost its closing quote. */
const RECORD_BYTES_MAX = 8 * 1024 * 1024;
/** Counted for each line, so that empty ones have an end, too. */
const LINE_BYTES = 16;
const QUOTE = 0x22;

/**
 * CSV with a header row: an object of texts a row. The parser of csv-parse loses its way after a
 * stray quote, so it is handed whole rows: lines are put together as long as their quotes do not
 * pair up. When such a row cannot be parsed, its first line is to blame and the others are looked at
 * again; so nothing but the malformed line is lost.
 */
export async function* csvRows(chunks: AsyncIterable<Buffer>, delimiter: string): RecordSource {
  const splitter = new LineSplitter();
  const reader = new RowReader(delimiter);
  for await (const chunk of chunks) yield reader.read(splitter.push(chunk), false);
  yield reader.read(splitter.end(), true);
}

class RowReader {
  readonly #delimiter: string;
  #columns: string[] | undefined;
  /** Lines of a row whose last quote is open. */
  #open: Line[] = [];
  #openBytes = 0;

  constructor(delimiter: string) {
    this.#delimiter = delimiter;
  }

  read(lines: readonly Line[], isEnd: boolean): InputRecord[] {
    const records: InputRecord[] = [];
    const rows: Line[][] = [];
    // Taken from the end; lines that are looked at again go back there.
    const todo = lines.toReversed();
    for (;;) {
      const line = todo.pop();
      if (!line) {
        if (!isEnd || this.#open.length === 0) break;
        this.#giveUp(rows, records, todo);
        continue;
      }
      const row = this.#assemble(line);
      if (row) this.#accept(row, rows, records, todo);
      else if (this.#openBytes > RECORD_BYTES_MAX) this.#giveUp(rows, records, todo);
    }
    this.#parseAll(rows, records);
    return records;
  }

  /** The row that this line completes. */
  #assemble(line: Line): Line[] | undefined {
    if (this.#open.length === 0 && isBlank(line)) return undefined;
    if (this.#open.length === 0 && line.problem !== undefined) return [line];
    const isPaired = line.problem === undefined && quotesIn(line.bytes) % 2 === 0;
    if (this.#open.length === 0 && isPaired) return [line];
    this.#open.push(line);
    this.#openBytes += line.bytes.length + LINE_BYTES;
    const isClosed = this.#open.length > 1 && (!isPaired || line.problem !== undefined);
    if (!isClosed) return undefined;
    return this.#takeOpen();
  }

  #takeOpen(): Line[] {
    const row = this.#open;
    this.#open = [];
    this.#openBytes = 0;
    return row;
  }

  #accept(row: Line[], rows: Line[][], records: InputRecord[], todo: Line[]): void {
    if (!this.#columns) {
      this.#columns = this.#header(row);
    } else if (row.length === 1 && row[0]?.problem === undefined) {
      rows.push(row);
    } else {
      this.#parseAll(rows.splice(0), records);
      this.#parseOne(row, records, todo);
    }
  }

  /** The quote that is open stays open: its line is malformed, those after it are read again. */
  #giveUp(rows: Line[][], records: InputRecord[], todo: Line[]): void {
    const row = this.#takeOpen();
    if (!this.#columns) this.#header(row);
    this.#parseAll(rows.splice(0), records);
    blameFirst(row, 'has a quote that is not closed', records, todo);
  }

  /** Rows of one line each; at the first that is malformed, one by one. */
  #parseAll(rows: readonly Line[][], records: InputRecord[]): void {
    if (rows.length === 0) return;
    const lines = rows.flat();
    try {
      const values = this.#parse(lines) as unknown[];
      if (values.length !== lines.length) throw new Error('rows do not fit lines');
      lines.forEach(({ number, bytes }, i) => {
        records.push({ line: number, value: values[i], bytes: bytes.length });
      });
    } catch {
      for (const row of rows) this.#parseOne(row, records, []);
    }
  }

  #parseOne(row: Line[], records: InputRecord[], todo: Line[]): void {
    const first = row[0] as Line;
    const broken = row.find(({ problem }) => problem !== undefined);
    if (broken) {
      const problem = broken === first ? broken.problem : undefined;
      blameFirst(row, problem ?? 'has a quote that is not closed', records, todo);
      return;
    }
    try {
      const values = this.#parse(row);
      if (values.length !== 1) throw new Error('is not one row');
      const bytes = row.reduce((sum, line) => sum + line.bytes.length, 0);
      records.push({ line: first.number, value: values[0], bytes });
    } catch (error) {
      blameFirst(row, describe(error), records, todo);
    }
  }

  #parse(lines: readonly Line[], columns = this.#columns): unknown[] {
    return parse(textOf(lines), {
      columns: columns ?? false,
      delimiter: this.#delimiter,
      record_delimiter: '\n',
      max_record_size: LINE_BYTES_MAX,
    });
  }

  /** @throws HowdahError HOWDAH_OPTION_INVALID: without a usable header no row can be read */
  #header(row: Line[]): string[] {
    const names = this.#namesOf(row);
    const flawed = names.find(
      (name, i) => name === '' || name === '__proto__' || names.indexOf(name) !== i,
    );
    if (flawed === undefined) return names;
    const problem = flawed === '' ? 'a column without a name' : `column ${flawed} twice`;
    throw headerError(flawed === '__proto__' ? 'column __proto__' : problem);
  }

  #namesOf(row: Line[]): string[] {
    const problem = row.find((line) => line.problem !== undefined)?.problem;
    if (problem) throw headerError(`a line that ${problem}`);
    try {
      const [names] = this.#parse(row) as string[][];
      return names ?? [];
    } catch (error) {
      throw headerError(`a line that ${describe(error)}`);
    }
  }
}

function quotesIn(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(QUOTE); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) count += 1;
  return count;
}

function textOf(lines: readonly Line[]): string {
  return lines.map(({ bytes }) => bytes.toString('utf8')).join('\n');
}

function blameFirst(row: Line[], problem: string, records: InputRecord[], todo: Line[]): void {
  const [first, ...others] = row;
  if (first) records.push(bad(first.number, problem, first.bytes));
  // one by one: hundreds of thousands are too many arguments
  for (const line of others.reverse()) todo.push(line);
}

/** In the words of the report: "line 3 has ...". The parser's own line numbers are not the file's. */
function describe(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  switch (code) {
    case 'CSV_RECORD_INCONSISTENT_COLUMNS': {
      const [, expected, got] = /length is (\d+), got (\d+)/.exec(message) ?? [];
      return `has ${got} fields where the header has ${expected}`;
    }
    case 'CSV_INVALID_CLOSING_QUOTE':
    case 'INVALID_OPENING_QUOTE':
    case 'CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE':
      return 'has a quote in the wrong place';
    case 'CSV_QUOTE_NOT_CLOSED':
      return 'has a quote that is not closed';
    default:
      return `is not CSV: ${message.replace(/ (at|on) line \d+.*$/, '')}`;
  }
}

function headerError(what: string): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', `The header row has ${what}.`, {
    remedy: 'Begin the file with a row of distinct column names.',
  });
}
