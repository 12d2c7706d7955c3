import { describe, expect, test } from 'vitest';
import { isFaultOfData, send } from '../../../../src/client/enqueue/send.js';
import { HowdahError, type HowdahErrorCode } from '../../../../src/core/errors.js';

/** A clock that sleeps at once and remembers for how long. */
function fakeClock() {
  let now = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    monotonic: () => now,
    random: () => 0.5,
    sleep: async (ms: number) => {
      slept.push(ms);
      now += ms;
    },
  };
}

const failure = (code: HowdahErrorCode, details: Record<string, unknown> = {}) =>
  new HowdahError(code, 'failed', { details });

/** Fails with each error in turn, then succeeds. */
function failing(...errors: Error[]) {
  let calls = 0;
  const run = async () => {
    const error = errors[calls++];
    if (error) throw error;
    return 'done';
  };
  return { run, calls: () => calls };
}

describe('send', () => {
  test.each([
    ['no connection was made', failure('HOWDAH_DATABASE_UNAVAILABLE')],
    ['no connection was left', failure('HOWDAH_DATABASE_UNAVAILABLE', { sqlstate: '53300' })],
    ['the server is a standby', failure('HOWDAH_DATABASE_READ_ONLY', { sqlstate: '25006' })],
    ['a deadlock undid it', failure('HOWDAH_TRANSACTION_CONFLICT', { sqlstate: '40P01' })],
    ['it was cancelled there', failure('HOWDAH_TIMEOUT', { isSent: true, sqlstate: '57014' })],
    ['a lock was not to be had', failure('HOWDAH_TIMEOUT', { isSent: true, sqlstate: '55P03' })],
    [
      'its connection was ended before it was complete',
      failure('HOWDAH_DATABASE_UNAVAILABLE', { isSent: true, isUndone: true, sqlstate: '57P01' }),
    ],
  ])('tries again when %s', async (_, error) => {
    const { run, calls } = failing(error, error);
    expect(await send(run, fakeClock())).toBe('done');
    expect(calls()).toBe(3);
  });

  test.each([
    ['the line broke', failure('HOWDAH_DATABASE_UNAVAILABLE', { isSent: true })],
    ['no answer came in time', failure('HOWDAH_TIMEOUT', { isSent: true })],
    [
      'the server was shut down',
      failure('HOWDAH_DATABASE_UNAVAILABLE', { isSent: true, sqlstate: '57P01' }),
    ],
  ])('does not know the outcome when %s after the statement had left', async (_, error) => {
    const { run, calls } = failing(error);
    await expect(send(run, fakeClock())).rejects.toMatchObject({
      code: 'HOWDAH_COMMIT_UNKNOWN',
      cause: error,
    });
    expect(calls()).toBe(1);
  });

  test.each([
    ['a refusal', failure('HOWDAH_QUEUE_UNKNOWN', { sqlstate: 'HW001' })],
    ['a full disk', failure('HOWDAH_DATABASE_UNAVAILABLE', { isSent: true, sqlstate: '53100' })],
    ['a defect', new TypeError('x is not a function')],
  ])('passes %s on at once', async (_, error) => {
    const { run, calls } = failing(error);
    await expect(send(run, fakeClock())).rejects.toBe(error);
    expect(calls()).toBe(1);
  });

  test('gives up after a bounded number of tries', async () => {
    const errors = Array.from({ length: 50 }, () => failure('HOWDAH_DATABASE_UNAVAILABLE'));
    const { run, calls } = failing(...errors);
    const clock = fakeClock();
    await expect(send(run, clock)).rejects.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
    expect(calls()).toBe(5);
    expect(clock.slept.reduce((sum, ms) => sum + ms, 0)).toBeLessThan(2_000);
  });

  test('does not begin again when a try alone took too long', async () => {
    const clock = fakeClock();
    let calls = 0;
    const slow = async () => {
      calls++;
      await clock.sleep(10_000);
      throw failure('HOWDAH_DATABASE_UNAVAILABLE');
    };
    await expect(send(slow, clock)).rejects.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
    expect(calls).toBe(1);
  });
});

describe('isFaultOfData', () => {
  test.each([
    ['22P05', true],
    ['54001', true],
    ['HW011', true],
    ['HW001', false],
    ['53100', false],
    ['42501', false],
  ])('%s: %s', (sqlstate, expected) => {
    expect(isFaultOfData(failure('HOWDAH_DATABASE_ERROR', { sqlstate }))).toBe(expected);
  });
});
