import { describe, expect, test } from 'vitest';
import {
  cancelJob,
  deadLetter,
  PermanentError,
  release,
  retry,
  settlementOf,
  settlementOfThrown,
  snooze,
} from '../../../../src/core/job/outcome.js';

describe('settlementOf', () => {
  test('reads what a handler returned', () => {
    expect(settlementOf(snooze('2 m'))).toEqual({ verb: 'snooze', delayMs: 120_000 });
    expect(settlementOf(release())).toEqual({ verb: 'release' });
    expect(settlementOf(cancelJob('obsolete'))).toEqual({ verb: 'cancel', reason: 'obsolete' });
    expect(settlementOf(deadLetter('no such user'))).toMatchObject({
      verb: 'dead_letter',
      reason: 'no such user',
      error: { message: 'no such user' },
    });
    expect(settlementOf(retry('30s', 'busy'))).toMatchObject({
      verb: 'fail',
      delayMs: 30_000,
      error: { message: 'busy' },
    });
  });

  test.each([undefined, null, 0, 'snooze', {}, [], { verb: 'snooze' }])(
    '%s is a result, not an outcome',
    (value) => {
      expect(settlementOf(value)).toBeUndefined();
    },
  );

  test('an absurd delay is refused where it is written', () => {
    expect(() => snooze(-1)).toThrow(/snooze delay/);
    expect(() => retry('900000 d')).toThrow(/retry delay/);
  });
});

describe('settlementOfThrown', () => {
  test('anything is a failure', () => {
    expect(settlementOfThrown(new Error('boom'))).toMatchObject({
      verb: 'fail',
      error: { message: 'boom' },
    });
    expect(settlementOfThrown(undefined).verb).toBe('fail');
  });

  test('a permanent error goes to the dead letters, a subclass of it too', () => {
    class NoSuchUser extends PermanentError {
      override readonly name = 'NoSuchUser';
    }
    expect(settlementOfThrown(new NoSuchUser('42'))).toMatchObject({
      verb: 'dead_letter',
      reason: '42',
      error: { name: 'NoSuchUser', message: '42' },
    });
  });

  test('a second copy of the class is known too', () => {
    const twin = Object.assign(new Error('x'), { [Symbol.for('howdah.permanent')]: true });
    expect(settlementOfThrown(twin).verb).toBe('dead_letter');
  });

  test('a proxy that throws is a failure', () => {
    const trap = new Proxy(
      {},
      {
        get: () => {
          throw new Error('trap');
        },
      },
    );
    expect(settlementOfThrown(trap).verb).toBe('fail');
  });
});
