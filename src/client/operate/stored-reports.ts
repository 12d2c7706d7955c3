import { type Codecs, decodeField, isEnvelope, type StoredPlace } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import type { Json } from '../../core/json.js';
import type { WatchedRow } from '../../db/calls/reports.js';

/** A line of a job's log as it is stored: an encoded one has all it says in its fields. */
interface StoredLine {
  readonly message: string;
  readonly fields: Readonly<Record<string, Json>> | null;
}

/** A line as its handler wrote it; as it is stored where it cannot be decoded. */
export function readLine<Line extends StoredLine>(
  line: Line,
  place: StoredPlace,
  codecs: Codecs | undefined,
): Line {
  if (!isEnvelope(line.fields)) return line;
  try {
    const said = decodeField(codecs, 'log', line.fields, place) as StoredLine;
    return { ...line, message: said.message, fields: said.fields ?? null };
  } catch {
    return line;
  }
}

/** The progress of a job; as it is stored where it cannot be decoded. */
export function readProgress(
  row: { readonly progress: unknown },
  place: StoredPlace,
  codecs: Codecs | undefined,
): { readonly progress: Json; readonly isDecoded: boolean } {
  try {
    const progress = decodeField(codecs, 'progress', row.progress, place) as Json;
    return { progress, isDecoded: true };
  } catch {
    return { progress: row.progress as Json, isDecoded: false };
  }
}

/** @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN */
export function openWatched(row: WatchedRow, codecs: Codecs | undefined): WatchedRow {
  if (!codecs && !isEnvelope(row.result) && !isEnvelope(row.progress)) return row;
  const place = { jobId: row.id, foundIn: row.queue ?? '' };
  return {
    ...row,
    result: decodeField(codecs, 'result', row.result, place) as Json,
    progress: decodeField(codecs, 'progress', row.progress, place) as Json,
    errors: row.errors && decodeErrors(codecs, row.errors, place),
  };
}
