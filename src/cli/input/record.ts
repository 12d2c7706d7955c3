/** One record of an input file: a payload, or what is wrong with it. */
export type InputRecord = GoodRecord | BadRecord;

export interface GoodRecord {
  /** Number of its (first) line in the file, from 1. */
  readonly line: number;
  readonly value: unknown;
  /** About how many bytes it has. */
  readonly bytes: number;
}

export interface BadRecord {
  readonly line: number;
  readonly problem: string;
  /** The line itself, cut where it is long. */
  readonly text: string;
}

/** Records as they come, in blocks, so that nobody waits for a promise per record. */
export type RecordSource = AsyncGenerator<InputRecord[]>;

/** Of a malformed line, this much is kept. */
const TEXT_CHARS_MAX = 10_000;

export function bad(line: number, problem: string, bytes: Buffer): BadRecord {
  return { line, problem, text: bytes.toString('utf8').slice(0, TEXT_CHARS_MAX) };
}

export function isBad(record: InputRecord): record is BadRecord {
  return 'problem' in record;
}
