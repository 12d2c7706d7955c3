import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { usageError } from '../context.js';
import { csvRows } from './csv.js';
import { jsonLines } from './json-lines.js';
import type { RecordSource } from './record.js';

/** Where jobs come from: a file, or `-` for standard input. */
interface SourceOptions {
  readonly from: string;
  /** Default: as the name of the file ends; JSON lines for standard input. */
  readonly format: string | undefined;
  /** Of CSV. Default: a comma, for `.tsv` a tab. */
  readonly delimiter: string | undefined;
}

/** An input that is being read. */
interface Source {
  readonly records: RecordSource;
  /** Size of the file in bytes; undefined for a pipe. */
  readonly bytesTotal: number | undefined;
  /** Bytes read so far. */
  bytesRead(): number;
  /** Ends the input here. */
  stop(): void;
}

/** @throws HowdahError HOWDAH_OPTION_INVALID when the file cannot be read */
export function openSource(options: SourceOptions): Source {
  const { from } = options;
  const bytesTotal = from === '-' ? undefined : sizeOf(from);
  const stream: Readable = from === '-' ? process.stdin : createReadStream(from);
  let bytes = 0;
  let isStopped = false;
  async function* chunks(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        yield chunk;
        if (isStopped) return;
      }
    } catch (error) {
      if (!isStopped) throw usageError(`${from} cannot be read: ${(error as Error).message}.`);
    }
  }
  return {
    records: recordsOf(options, chunks()),
    bytesTotal,
    bytesRead: () => bytes,
    stop: () => {
      isStopped = true;
      stream.destroy();
    },
  };
}

function recordsOf({ from, format, delimiter }: SourceOptions, chunks: AsyncGenerator<Buffer>) {
  const ending = /\.(csv|tsv)$/i.exec(from)?.[1]?.toLowerCase();
  const chosen = format ?? (ending ? 'csv' : 'jsonl');
  if (chosen === 'jsonl') return jsonLines(chunks);
  return csvRows(chunks, delimiterOf(delimiter ?? (ending === 'tsv' ? 'tab' : ',')));
}

function delimiterOf(text: string): string {
  if (text === 'tab' || text === '\\t') return '\t';
  if (text.length === 1 && text !== '"' && text !== '\n') return text;
  throw usageError(`Option delimiter: ${JSON.stringify(text)} is not one character, nor tab.`);
}

function sizeOf(file: string): number | undefined {
  try {
    const found = statSync(file);
    if (found.isDirectory()) throw new Error('it is a folder');
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    throw usageError(`${file} cannot be read: ${(error as Error).message}.`);
  }
}
