import { isBlank, type Line, LineSplitter } from './lines.js';
import { bad, type InputRecord, type RecordSource } from './record.js';

/** One JSON value a line; blank lines are passed over. */
export async function* jsonLines(chunks: AsyncIterable<Buffer>): RecordSource {
  const splitter = new LineSplitter();
  for await (const chunk of chunks) yield recordsOf(splitter.push(chunk));
  yield recordsOf(splitter.end());
}

function recordsOf(lines: readonly Line[]): InputRecord[] {
  return lines.filter((line) => !isBlank(line)).map(recordOf);
}

function recordOf({ number, bytes, problem }: Line): InputRecord {
  if (problem !== undefined) return bad(number, problem, bytes);
  try {
    return { line: number, value: JSON.parse(bytes.toString('utf8')), bytes: bytes.length };
  } catch (error) {
    return bad(number, `is not JSON: ${(error as Error).message}`, bytes);
  }
}
