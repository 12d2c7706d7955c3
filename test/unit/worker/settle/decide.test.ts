import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../../src/core/errors.js';
import { PermanentError, release, snooze } from '../../../../src/core/job/outcome.js';
import {
  COMPLETE,
  type Decision,
  decideAborted,
  decideAnswered,
  decideReturned,
  decideThrown,
  type EndFacts,
} from '../../../../src/worker/settle/decide.js';

const PLAIN: EndFacts = {
  abortCode: undefined,
  isSignalUsed: false,
  isCancelRequested: false,
  isCompletedIn: false,
};

describe('a handler returned', () => {
  test('nothing: complete', () => {
    expect(decideReturned(undefined, PLAIN).settlement).toBe(COMPLETE);
  });

  test('a value: complete with it', () => {
    expect(decideReturned({ sent: true }, PLAIN).settlement).toEqual({
      verb: 'complete',
      result: '{"sent":true}',
    });
    expect(decideReturned(null, PLAIN).settlement).toEqual({ verb: 'complete', result: 'null' });
  });

  test('an outcome: that', () => {
    expect(decideReturned(snooze('1m'), PLAIN).settlement).toEqual({
      verb: 'snooze',
      delayMs: 60_000,
    });
    expect(decideReturned(release(), PLAIN).settlement.verb).toBe('release');
  });

  test.each([
    ['a BigInt', 10n],
    ['a function', () => 1],
    ['\\u0000', 'a\0b'],
    ['a lone surrogate', '\ud800'],
    ['too much', 'x'.repeat(1_100_000)],
    ['a Map', new Map([[1, 2]])],
    [
      'a proxy that throws',
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('trap');
          },
        },
      ),
    ],
  ])('%s: complete with a placeholder, and says why', (_, value) => {
    const { settlement, problem } = decideReturned(value, PLAIN);
    expect(settlement.verb).toBe('complete');
    expect(JSON.parse(settlement.result ?? '')).toMatchObject({ howdah: 'result not stored' });
    expect(problem).toBeTruthy();
  });

  test('nothing, after it saw that it must stop: runs again', () => {
    const told: EndFacts = { ...PLAIN, abortCode: 'HOWDAH_SHUTDOWN', isSignalUsed: true };
    expect(decideReturned(undefined, told).settlement.verb).toBe('release');
    expect(decideReturned({ done: 1 }, told).settlement.verb).toBe('complete');
    expect(decideReturned(undefined, { ...told, isSignalUsed: false }).settlement).toBe(COMPLETE);
  });

  test('although it was cancelled: cancelled', () => {
    const asked = { ...PLAIN, isCancelRequested: true };
    expect(decideReturned({ done: 1 }, asked).settlement.verb).toBe('cancel');
  });

  test('after completeIn: a failure that finds nothing when the transaction was committed', () => {
    const { settlement } = decideReturned(undefined, { ...PLAIN, isCompletedIn: true });
    expect(settlement).toMatchObject({
      verb: 'fail',
      error: { code: 'HOWDAH_TRANSACTION_INVALID' },
    });
  });
});

describe('a handler threw', () => {
  test('anything: fails', () => {
    expect(decideThrown(undefined, PLAIN).settlement.verb).toBe('fail');
  });

  test('a permanent error: dead', () => {
    expect(decideThrown(new PermanentError('no'), PLAIN).settlement.verb).toBe('dead_letter');
  });

  test('because it was told to stop: given back, or cancelled', () => {
    const shutdown: EndFacts = { ...PLAIN, abortCode: 'HOWDAH_SHUTDOWN' };
    expect(decideThrown(new Error('aborted'), shutdown).settlement.verb).toBe('release');
    const cancelled = { ...PLAIN, isCancelRequested: true };
    expect(decideThrown(new Error('aborted'), cancelled).settlement.verb).toBe('cancel');
  });
});

test('what a thread or process has decided stands, unless the attempt was told to stop meanwhile', () => {
  const verbOf = (decision: Decision, isThrown: boolean, facts: Partial<EndFacts>): string =>
    decideAnswered({ decision, isThrown }, { ...PLAIN, ...facts }).settlement.verb;
  const done = decideReturned(undefined, PLAIN);
  const result = decideReturned({ sent: true }, PLAIN);
  const failed = decideThrown(new Error('no'), PLAIN);
  const shutdown = { abortCode: 'HOWDAH_SHUTDOWN' } as const;
  expect(decideAnswered({ decision: result, isThrown: false }, PLAIN)).toBe(result);
  expect(verbOf(failed, true, {})).toBe('fail');
  expect(verbOf(failed, true, shutdown)).toBe('release');
  expect(verbOf(done, false, shutdown)).toBe('complete');
  expect(verbOf(done, false, { ...shutdown, isSignalUsed: true })).toBe('release');
  expect(verbOf(result, false, { ...shutdown, isSignalUsed: true })).toBe('complete');
  expect(verbOf(decideReturned(snooze('1h'), PLAIN), false, shutdown)).toBe('snooze');
  expect(verbOf(result, false, { isCancelRequested: true })).toBe('cancel');
  // middleware has completed the job in a transaction: had it committed, this would be stale
  expect(verbOf(result, false, { isCompletedIn: true })).toBe('fail');
  expect(verbOf(failed, true, { isCompletedIn: true })).toBe('fail');
});

test('a handler that never ends is failed, given back or cancelled by the reason of its abort', () => {
  const timeout = new HowdahError('HOWDAH_JOB_TIMEOUT', 'too long');
  expect(decideAborted(timeout, false).settlement).toMatchObject({
    verb: 'fail',
    error: { code: 'HOWDAH_JOB_TIMEOUT' },
  });
  const shutdown = new HowdahError('HOWDAH_SHUTDOWN', 'bye');
  expect(decideAborted(shutdown, false).settlement.verb).toBe('release');
  expect(decideAborted(shutdown, true).settlement.verb).toBe('cancel');
});
