import { snapshotError } from '../../core/codec/error-snapshot.js';
import { HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import { type Settlement, settlementOf, settlementOfThrown } from '../../core/job/outcome.js';
import { encodeResultOrReplace } from '../../core/result.js';

/** What is known of an attempt, beside what its handler returned or threw, when it ends. */
export interface EndFacts {
  /** Why its signal was aborted; undefined when it was not. */
  readonly abortCode: HowdahErrorCode | undefined;
  /** Whether the handler has looked at its signal at all. */
  readonly isSignalUsed: boolean;
  readonly isCancelRequested: boolean;
  readonly isCompletedIn: boolean;
}

/** Success without a result, by far the commonest end. */
export const COMPLETE: Settlement = Object.freeze({ verb: 'complete' });
const RELEASE: Settlement = Object.freeze({ verb: 'release' });
const CANCEL: Settlement = Object.freeze({ verb: 'cancel', reason: 'cancelled while it ran' });

/** How an attempt ends. */
export interface Decision {
  readonly settlement: Settlement;
  /** Why the result was replaced by a placeholder. */
  readonly problem?: string;
}

/** How an attempt ends whose handler returned `value`. */
export function decideReturned(value: unknown, facts: EndFacts): Decision {
  if (facts.isCompletedIn) return { settlement: NOT_COMMITTED };
  if (facts.isCancelRequested) return { settlement: CANCEL };
  if (value === undefined) {
    // Told to stop, it stopped without saying that it had finished: it runs again.
    const hasStoppedEarly = facts.abortCode === 'HOWDAH_SHUTDOWN' && facts.isSignalUsed;
    return { settlement: hasStoppedEarly ? RELEASE : COMPLETE };
  }
  const asked = readOutcome(value);
  if (asked) return { settlement: asked };
  const { text, problem } = encodeResultOrReplace(value);
  const settlement: Settlement = { verb: 'complete', result: text };
  return problem === undefined ? { settlement } : { settlement, problem };
}

/** How an attempt ends whose handler threw. */
export function decideThrown(thrown: unknown, facts: EndFacts): Decision {
  if (facts.isCompletedIn) return { settlement: settlementOfThrown(thrown) };
  if (facts.isCancelRequested) return { settlement: CANCEL };
  if (facts.abortCode === 'HOWDAH_SHUTDOWN') return { settlement: RELEASE };
  return { settlement: settlementOfThrown(thrown) };
}

/** How an attempt ends whose handler has answered from elsewhere, where these facts were not known. */
export function decideAnswered(
  answer: { readonly decision: Decision; readonly isThrown: boolean },
  facts: EndFacts,
): Decision {
  const { decision, isThrown } = answer;
  // by middleware; the handler itself cannot
  if (facts.isCompletedIn) return isThrown ? decision : { settlement: NOT_COMMITTED };
  if (facts.isCancelRequested) return { settlement: CANCEL };
  if (facts.abortCode !== 'HOWDAH_SHUTDOWN') return decision;
  const { verb, result } = decision.settlement;
  const hasStoppedEarly = verb === 'complete' && result === undefined && facts.isSignalUsed;
  return isThrown || hasStoppedEarly ? { settlement: RELEASE } : decision;
}

/** How an attempt ends whose handler has not, although its signal was aborted. */
export function decideAborted(reason: HowdahError, isCancelRequested: boolean): Decision {
  if (isCancelRequested) return { settlement: CANCEL };
  if (reason.code === 'HOWDAH_SHUTDOWN') return { settlement: RELEASE };
  return { settlement: { verb: 'fail', error: snapshotError(reason, { stack: false }) } };
}

/** Sent after completeIn: it finds nothing to change when the transaction was committed. */
const NOT_COMMITTED: Settlement = Object.freeze({
  verb: 'fail',
  error: snapshotError(
    new HowdahError(
      'HOWDAH_TRANSACTION_INVALID',
      'The transaction given to completeIn was not committed before the handler returned.',
    ),
    { stack: false },
  ),
});

function readOutcome(value: unknown): Settlement | undefined {
  try {
    return settlementOf(value);
  } catch (error) {
    if (error instanceof HowdahError) return settlementOfThrown(error);
    return undefined; // a proxy that throws: the encoding will say so
  }
}
