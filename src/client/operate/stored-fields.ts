import { type CodecField, type Codecs, decodeField, isEnvelope } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import type { JobError } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';

/** A row of a view with what a codec may have encoded. */
interface StoredRow {
  readonly id: string;
  readonly payload: unknown;
  readonly headers: unknown;
  readonly errors: unknown;
  readonly result?: unknown;
}

/** The same, decoded as far as that is possible. */
interface ReadFields {
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>>;
  readonly errors: readonly JobError[];
  readonly result: Json | null;
  readonly undecoded: readonly CodecField[];
}

/**
 * Decodes for people who look: what cannot be decoded is shown as it is stored, and named in `undecoded`.
 * @param foundIn the queue where the job lies
 * @param queue the one it belongs to, where it is dead
 */
export function readFields(
  row: StoredRow,
  foundIn: string,
  codecs: Codecs | undefined,
  queue: string = foundIn,
): ReadFields {
  const undecoded: CodecField[] = [];
  let headers: Readonly<Record<string, Json>> | undefined;
  const read = (field: CodecField, stored: unknown, jobId?: string): unknown => {
    try {
      return decodeField(codecs, field, stored, { jobId, queue, foundIn, headers });
    } catch {
      undecoded.push(field);
      return stored;
    }
  };
  headers = (read('headers', row.headers) ?? {}) as Readonly<Record<string, Json>>;
  if (undecoded.length > 0) headers = undefined;
  const stored = (row.errors ?? []) as readonly JobError[];
  const errors = decodeErrors(codecs, stored, { jobId: row.id, queue, foundIn, headers });
  if (errors.some(isEnvelope)) undecoded.push('error');
  return {
    payload: read('payload', row.payload) as Json,
    headers: headers ?? (row.headers as Readonly<Record<string, Json>>),
    errors,
    result: (read('result', row.result, row.id) ?? null) as Json | null,
    undecoded,
  };
}

/** The message of the last error; as the view has it where it is not encoded. */
export function lastErrorOf(errors: readonly JobError[], shown: string | null): string | null {
  const last = errors.at(-1);
  return shown === null || !last ? shown : last.message;
}
