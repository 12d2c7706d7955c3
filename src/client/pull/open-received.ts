import { type Codecs, decodeField, isEnvelope } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import type { Json } from '../../core/json.js';
import type { ReceivedRow } from '../../db/calls/pull.js';

/**
 * A received row with everything decoded; the row itself where nothing of it is encoded.
 * @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN; a PermanentError of the codec
 */
export function openReceived(
  row: ReceivedRow,
  queue: string,
  codecs: Codecs | undefined,
): ReceivedRow {
  const { payload, errors } = row;
  const headers = decodeField(codecs, 'headers', row.headers, { foundIn: queue }) as Readonly<
    Record<string, Json>
  > | null;
  const place = { foundIn: queue, headers: headers ?? undefined };
  const opened = errors && decodeErrors(codecs, errors, { ...place, jobId: row.id });
  if (headers === row.headers && opened === errors && !isEnvelope(payload)) return row;
  return {
    ...row,
    headers,
    errors: opened,
    payload: decodeField(codecs, 'payload', payload, place) as Json,
  };
}
