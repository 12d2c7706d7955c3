import { toStorable } from '../core/error-snapshot.js';
import type { SettleAsk } from '../db/calls/settle.js';
import type { Attempt } from './attempt.js';

/** Results of completed attempts, as a JSON object by job id; null when none has one. */
export function encodeResults(attempts: readonly Attempt[]): string | null {
  const results: string[] = [];
  for (const { id, settlement } of attempts) {
    if (settlement?.result !== undefined) results.push(`"${id}":${settlement.result}`);
  }
  return results.length > 0 ? `{${results.join()}}` : null;
}

/** Any other ends, as the JSON array that `settle` takes. */
export function encodeAsks(attempts: readonly Attempt[]): string {
  return JSON.stringify(attempts.map(toAsk));
}

function toAsk({ id, claims, settlement }: Attempt): SettleAsk {
  const { verb = 'release', error, delayMs, reason } = settlement ?? {};
  return {
    id,
    attempt: claims,
    outcome: verb,
    ...(error && { error }),
    ...(delayMs !== undefined && { delay_ms: delayMs }),
    ...(reason !== undefined && { reason: toStorable(reason) }),
  };
}
