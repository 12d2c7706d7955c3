import type { Settlement } from '../../core/job/outcome.js';
import { replacedResult } from '../../core/result.js';
import { toAscii } from '../../core/shown-text.js';

const REFUSED = replacedResult('the database refused it');
const BARE_FAIL: Settlement = Object.freeze({ verb: 'fail' });

/**
 * What to settle in place of what was refused, each with less in it: the same in plain characters, the same
 * without what the handler said, a failure that says nothing. A job must not hang by its own output, and
 * an end that counts no attempt would have it run again for ever. Undefined: there is nothing less.
 */
export function substituteOf(refused: Settlement | undefined): Settlement | undefined {
  if (refused === undefined) return BARE_FAIL;
  const { verb, result, error, reason, delayMs } = refused;
  if (verb === 'complete' && result !== undefined) {
    return result === REFUSED ? { verb } : { verb, result: REFUSED };
  }
  const plain = plainOf(refused);
  if (plain) return plain;
  if (error !== undefined || reason !== undefined) {
    return delayMs === undefined ? { verb } : { verb, delayMs };
  }
  return verb === 'fail' && delayMs === undefined ? undefined : BARE_FAIL;
}

/** A database that is not UTF-8 lacks characters. Undefined: there are none that it may lack. */
function plainOf({ error, reason, ...rest }: Settlement): Settlement | undefined {
  const text = JSON.stringify([error, reason]);
  if (toAscii(text) === text) return undefined;
  return {
    ...rest,
    ...(reason !== undefined && { reason: toAscii(reason) }),
    ...(error !== undefined && {
      error: {
        name: toAscii(error.name),
        message: toAscii(error.message),
        ...(error.code !== undefined && { code: toAscii(error.code) }),
      },
    }),
  };
}
