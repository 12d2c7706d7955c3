import type { Codecs } from '../../core/codec/codec.js';
import type { Json } from '../../core/json.js';
import { encodeResult } from '../../core/result.js';
import { refuseRows } from '../../db/handles/refuse.js';
import { type TxHandle, transactionRunner } from '../../db/handles/transaction-handle.js';
import type { Attempt } from './attempt.js';
import { placeOf } from './settle-encoding.js';

/** No job was ever claimed so often: this fence never fits. */
const NEVER = -1;

/** What is used of a run. */
interface CompletedRun {
  readonly attempts: readonly Attempt[];
  readonly isEnded: boolean;
}

/** What it works with, the same for all of a worker. */
interface CompleteInParts {
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
 *   HOWDAH_SETTLE_INVALID (a result of more than 1 MiB), HOWDAH_CODEC_FAILED
 */
export async function completeIn(
  run: CompletedRun,
  tx: TxHandle,
  result: Json | undefined,
  parts: CompleteInParts,
): Promise<void> {
  const { codecs } = parts;
  const text = result === undefined ? undefined : encodeResult(result);
  const encode = codecs && text !== undefined ? encoderOf(codecs, text) : () => text;
  await completeEncodedIn(run, tx, encode, parts);
}

/** The same. @param resultOf the result of each job as it is stored */
export async function completeEncodedIn(
  { attempts, isEnded }: CompletedRun,
  tx: TxHandle,
  resultOf: (attempt: Attempt) => string | undefined,
  { schema, completeInText }: CompleteInParts,
): Promise<void> {
  const [first] = attempts;
  if (!first) return;
  const run = transactionRunner(tx, schema);
  const jobs = [...attempts].sort(byId).map((attempt) => {
    const claims = isEnded ? NEVER : attempt.claims;
    const ask = `{"id":"${attempt.id}","attempt":${claims},"outcome":"complete"`;
    const stored = resultOf(attempt);
    return stored === undefined ? `${ask}}` : `${ask},"result":${stored}}`;
  });
  const ask = `{"lease":"${first.leaseId}","jobs":[${jobs.join()}]}`;
  const row = (await run(completeInText, ask)).at(-1); // a row a job: this is the latest time
  if (typeof row?.xact !== 'string' || typeof row.xact_at !== 'string') throw refuseRows();
  const xact = { id: row.xact, at: row.xact_at };
  for (const attempt of attempts) attempt.xact = xact;
}

function encoderOf(codecs: Codecs, text: string): (attempt: Attempt) => string {
  return (attempt) => codecs.encode('result', text, placeOf(attempt));
}

/** Ids are decimal numbers as text. */
function byId(a: Attempt, b: Attempt): number {
  return a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
}
