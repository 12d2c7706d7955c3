import type { Codecs } from '../core/codec.js';
import { encodeJson, type Json } from '../core/json.js';
import { refuseRows } from '../db/handles/refuse.js';
import { type TxHandle, transactionRunner } from '../db/handles/transaction-handle.js';
import type { Attempt } from './attempt.js';

/** No job was ever claimed so often: this fence never fits. */
const NEVER = -1;

/** What is used of a run. */
export interface CompletedRun {
  readonly attempts: readonly Attempt[];
  readonly isEnded: boolean;
}

/** What it works with, the same for all of a worker. */
export interface CompleteInParts {
  readonly schema: string;
  readonly completeInText: string;
  readonly codecs: Codecs | undefined;
}

/**
 * Completes the jobs of a run in its handler's transaction, in the order of their ids: the order in
 * which everybody locks jobs. When the attempts have ended already, by time-out for instance, the
 * database is asked all the same, in a way that it refuses: the transaction must fail even if the
 * handler swallows the error.
 * @throws HowdahError HOWDAH_SETTLE_STALE, HOWDAH_TRANSACTION_INVALID, HOWDAH_PAYLOAD_INVALID,
 *   HOWDAH_CODEC_FAILED
 */
export async function completeIn(
  run: CompletedRun,
  tx: TxHandle,
  result: Json | undefined,
  parts: CompleteInParts,
): Promise<void> {
  const text = result === undefined ? undefined : encodeJson(result, 'result');
  await completeEncodedIn(run, tx, text, parts);
}

/** The same; the result is JSON text already. */
export async function completeEncodedIn(
  { attempts, isEnded }: CompletedRun,
  tx: TxHandle,
  text: string | undefined,
  { schema, completeInText, codecs }: CompleteInParts,
): Promise<void> {
  const [first] = attempts;
  if (!first) return;
  const run = transactionRunner(tx, schema);
  const jobs = [...attempts].sort(byId).map(({ id, claims, queue, headers }) => {
    const ask = `{"id":"${id}","attempt":${isEnded ? NEVER : claims},"outcome":"complete"`;
    if (text === undefined) return `${ask}}`;
    const stored = codecs ? codecs.encode('result', text, { queue, jobId: id, headers }) : text;
    return `${ask},"result":${stored}}`;
  });
  const [row] = await run(completeInText, `{"lease":"${first.leaseId}","jobs":[${jobs.join()}]}`);
  if (typeof row?.xact !== 'string') throw refuseRows();
  for (const attempt of attempts) attempt.xact = row.xact;
}

/** Ids are decimal numbers as text. */
function byId(a: Attempt, b: Attempt): number {
  return a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
}
