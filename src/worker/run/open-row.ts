import { type Codecs, decodeField, isEnvelope } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import type { Json } from '../../core/json.js';
import type { ClaimedRest, ClaimedRow } from '../../db/calls/claim.js';

/**
 * A claimed row with everything decoded; the row itself where nothing of it is encoded.
 * @param queue where it was claimed
 * @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN; a PermanentError of the codec
 */
export function openRow(row: ClaimedRow, queue: string, codecs: Codecs | undefined): ClaimedRow {
  const rest = row[5] && openRest(row[5], row[0], queue, codecs);
  if (rest === row[5] && !isEnvelope(row[1])) return row;
  const headers = rest?.[5] ?? undefined;
  const payload = decodeField(codecs, 'payload', row[1], { foundIn: queue, headers });
  return [row[0], payload, row[2], row[3], row[4], rest];
}

function openRest(
  rest: ClaimedRest,
  id: string,
  queue: string,
  codecs: Codecs | undefined,
): ClaimedRest {
  const headers = decodeField(codecs, 'headers', rest[5], { foundIn: queue });
  const opened = headers as Readonly<Record<string, Json>> | null;
  const place = { jobId: id, foundIn: queue, headers: opened ?? undefined };
  const errors = rest[6] && decodeErrors(codecs, rest[6], place);
  if (headers === rest[5] && errors === rest[6]) return rest;
  const [seq, claims, uncounted, isExpired, max, , , group, isFollower] = rest;
  const made = [seq, claims, uncounted, isExpired, max, opened, errors, group] as const;
  return isFollower ? [...made, true] : made;
}
