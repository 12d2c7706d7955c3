import { CONTROLS, escapeControls } from '../core/control-characters.js';
import { isTooDeep, JSON_DEPTH_MAX } from '../core/json.js';
import { alignColumns, harmless, shortened, showMs, visible } from './terminal-text.js';

/** A column of a list. */
export interface Column<Row> {
  /** Name in TSV headers. */
  readonly key: keyof Row & string;
  /** Heading on a terminal. Default: the key in upper case. */
  readonly title?: string;
  /** How a terminal shows a number: as it is, or as a length of time in milliseconds. */
  readonly as?: 'ms';
  /** Left out on a terminal. */
  readonly isHidden?: boolean;
}

/** Where a command writes its answer. */
type OutputMode = 'table' | 'tsv' | 'json';

/**
 * The answer of a command on standard output: for people on a terminal, as tab-separated values in a
 * pipe, as JSON where it was asked for. A reader that goes away disturbs nobody: the rest is dropped.
 */
export class Output {
  readonly mode: OutputMode;
  #isGone = false;

  constructor(isJson: boolean, stream: NodeJS.WriteStream = process.stdout) {
    this.mode = isJson ? 'json' : stream.isTTY ? 'table' : 'tsv';
  }

  /** Call when the reader has gone. */
  close(): void {
    this.#isGone = true;
  }

  /** Whatever is written passes here: nothing in it commands a terminal. */
  line(text: string): void {
    if (!this.#isGone) process.stdout.write(`${harmless(text)}\n`);
  }

  /** One JSON document on a line of its own. */
  json(value: unknown): void {
    this.line(escapeControls(jsonText(value)));
  }

  /** For people only: nothing in a pipe or as JSON. */
  remark(text: string): void {
    if (this.mode === 'table') this.line(text);
  }

  /** A list: a table, TSV with a header, or JSON lines. */
  list<Row extends object>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    if (this.mode === 'json') for (const row of rows) this.json(row);
    else if (this.mode === 'tsv') this.#tsv(rows, columns);
    else this.#table(rows, columns);
  }

  /** One thing: `key: value` lines, TSV of two columns, or one JSON document. */
  record(value: object): void {
    if (this.mode === 'json') {
      this.json(value);
      return;
    }
    const entries = Object.entries(value).filter(([, each]) => each !== undefined);
    if (this.mode === 'tsv') {
      for (const [key, each] of entries) this.line(`${key}\t${tsvCell(each)}`);
      return;
    }
    const width = Math.max(0, ...entries.map(([key]) => key.length)) + 1;
    for (const [key, each] of entries) {
      const text = isPlain(each) ? visible(cell(each)) : indented(each, width + 1);
      this.line(`${`${key}:`.padEnd(width)} ${text}`.trimEnd());
    }
  }

  #tsv<Row extends object>(rows: readonly Row[], columns: readonly Column<Row>[]): void {
    this.line(columns.map(({ key }) => key).join('\t'));
    for (const row of rows) this.line(columns.map(({ key }) => tsvCell(row[key])).join('\t'));
  }

  #table<Row extends object>(rows: readonly Row[], all: readonly Column<Row>[]): void {
    const columns = all.filter(({ isHidden }) => !isHidden);
    const head = columns.map(({ key, title }) => title ?? key.toUpperCase());
    const body = rows.map((row) =>
      columns.map(({ key, as }) => {
        const value: unknown = row[key];
        const text = as === 'ms' && typeof value === 'number' ? showMs(value) : cell(value);
        return shortened(visible(text));
      }),
    );
    const isRight = columns.map(({ key }) => rows.some((row) => typeof row[key] === 'number'));
    for (const line of alignColumns([head, ...body], isRight)) this.line(line);
  }
}

function isPlain(value: unknown): boolean {
  return typeof value !== 'object' || value === null || value instanceof Date;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? jsonText(value) : String(value);
}

/**
 * As COPY reads it: a tab, a line break or a backslash in a value cannot be taken for structure, and the bytes of
 * other control characters are \\x and two digits each.
 */
function tsvCell(value: unknown): string {
  return cell(value)
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replace(CONTROLS, (char) => Buffer.from(char).toString('hex').replace(/../g, '\\x$&'));
}

/** JSON on several lines; JSON.stringify has escaped what would command a terminal, but for C1. */
function indented(value: unknown, by: number): string {
  return jsonText(value, 2)
    .split('\n')
    .map(visible)
    .join(`\n${' '.repeat(by)}`);
}

/** A payload may stand in a list of objects; beyond that it was not stored by us. */
const SHOWN_DEPTH_MAX = JSON_DEPTH_MAX + 10;

/** JSON of what the database has: what is nested so deep that JSON.stringify would fail ends in a remark. */
function jsonText(value: unknown, indent?: number): string {
  const isDeep = isTooDeep(value, SHOWN_DEPTH_MAX);
  return JSON.stringify(isDeep ? cut(value, SHOWN_DEPTH_MAX) : value, null, indent);
}

function cut(value: unknown, levels: number): unknown {
  if (isPlain(value)) return value;
  if (levels === 0) return `nested deeper than ${JSON_DEPTH_MAX} levels`;
  if (Array.isArray(value)) return value.map((member) => cut(member, levels - 1));
  const members = Object.entries(value as object);
  return Object.fromEntries(members.map(([key, member]) => [key, cut(member, levels - 1)]));
}
