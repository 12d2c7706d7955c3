import { type Codecs, decodeField, isEnvelope } from '../core/codec.js';
import { decodeErrors } from '../core/error-codec.js';
import type { Json } from '../core/json.js';
import type { ReceivedRow } from '../db/calls/pull.js';

/**
 * A received row with everything decoded; the row itself where nothing of it is encoded.
 * @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN; a PermanentError of the codec
 */
export function openReceived(
  row: ReceivedRow,
  queue: string,
  codecs: Codecs | undefined,
): ReceivedRow {
  const stored = row.errors;
  const errors = stored && decodeErrors(codecs, stored, { jobId: row.id, foundIn: queue });
  if (!isEnvelope(row.payload) && !isEnvelope(row.headers) && errors === stored) return row;
  const headers = decodeField(codecs, 'headers', row.headers, { foundIn: queue }) as Readonly<
    Record<string, Json>
  > | null;
  const place = { foundIn: queue, headers: headers ?? undefined };
  const payload = decodeField(codecs, 'payload', row.payload, place) as Json;
  return { ...row, payload, headers, errors };
}
