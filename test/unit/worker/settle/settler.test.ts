import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import { HowdahError } from '../../../../src/core/errors.js';
import { EventHub, type WorkerEvent } from '../../../../src/core/events.js';
import { fenceOf } from '../../../../src/core/fence.js';
import type { Settlement } from '../../../../src/core/job/outcome.js';
import { Outage } from '../../../../src/core/time/outage.js';
import type { ClaimedRow } from '../../../../src/db/calls/claim.js';
import type { SettleCalls, SettledRow } from '../../../../src/db/calls/settle.js';
import type { Executor } from '../../../../src/db/executor.js';
import { Attempt } from '../../../../src/worker/settle/attempt.js';
import { Settler } from '../../../../src/worker/settle/settler.js';
import { Tally } from '../../../../src/worker/settle/tally.js';

const clock: Clock = {
  now: () => 0,
  monotonic: () => 0,
  random: () => 1,
  sleep: () => new Promise((resolve) => setImmediate(resolve)),
};
const line: Executor = { query: async () => [] };
const pool: Executor = { query: async () => [] };

/** One statement as it was sent. */
interface Sent {
  readonly over: 'line' | 'pool';
  readonly leaseId: string;
  readonly ids: readonly string[];
  readonly text: string | null;
}

interface Surroundings {
  readonly clock?: Clock;
  readonly isAwaited?: () => boolean;
}

/** @param answer may throw, or return stale ids or rows */
function settlerWith(
  answer: (sent: Sent, times: number) => unknown = () => undefined,
  surroundings: Surroundings = {},
) {
  const sent: Sent[] = [];
  const asked: string[][] = [];
  const take = (statement: Sent): unknown => {
    sent.push(statement);
    return answer(statement, sent.length);
  };
  const over = (executor: Executor) => (executor === line ? 'line' : 'pool');
  const calls: SettleCalls = {
    completeInText: '',
    leave: async () => 0,
    held: async (executor, ids) => {
      asked.push([over(executor), ...ids]);
      return [];
    },
    complete: async (executor, leaseId, ids, _claims, text) => {
      const stale = take({ over: over(executor), leaseId, ids, text });
      return (stale ?? []) as string[];
    },
    completeLed: async (executor, leaseId, id, _claims, text) => {
      const stale = take({ over: over(executor), leaseId, ids: [id], text: text ?? 'led' });
      return stale === undefined;
    },
    settle: async (executor, leaseId, text) => {
      const asks = JSON.parse(text) as { id: string }[];
      const ids = asks.map(({ id }) => id);
      const rows = take({ over: over(executor), leaseId, ids, text });
      return (rows ?? ids.map((id) => [id, 'scheduled', 5])) as SettledRow[];
    },
  };
  const abandoned: string[] = [];
  const events: WorkerEvent[] = [];
  const hub = new EventHub();
  hub.add((event) => events.push(event));
  const tally = new Tally(hub);
  const settler = new Settler({
    calls,
    line,
    pool,
    tally,
    hub,
    outage: new Outage(clock),
    clock,
    isAwaited: () => false,
    ...surroundings,
    fence: fenceOf(clock, hub),
    leaseMs: 30_000,
    flush: async () => {},
    onRoom: () => {},
    onAbandoned: (leaseId) => abandoned.push(leaseId),
    onSettled: () => {},
  });
  return { settler, sent, asked, events, counts: tally.counts, abandoned };
}

let made = 0;

function attempt(settlement: Settlement, leaseId = '7', group?: string): Attempt {
  made += 1;
  const rest = group ? ([1, 1, 0, false, null, null, null, group] as const) : null;
  const row: ClaimedRow = [String(made), {}, 0, 10, 201, rest];
  const ended = new Attempt(row, 'q', leaseId);
  ended.settlement = settlement;
  return ended;
}

const COMPLETE: Settlement = { verb: 'complete' };
const FAIL: Settlement = { verb: 'fail', error: { name: 'Error', message: 'no' } };
const unavailable = () => new HowdahError('HOWDAH_DATABASE_UNAVAILABLE', 'gone');
const refused = () =>
  new HowdahError('HOWDAH_DATABASE_ERROR', 'bad data', { details: { sqlstate: '22P05' } });

function sqlError(sqlstate: string): HowdahError {
  return new HowdahError('HOWDAH_DATABASE_ERROR', 'no', { details: { sqlstate } });
}

describe('Settler', () => {
  test('gathers what ends in the same moment, at most 1000 in a statement', async () => {
    const { settler, sent, counts } = settlerWith();
    for (let n = 0; n < 2_500; n++) settler.add(attempt(COMPLETE));
    expect(settler.unsettled).toBe(2_500);
    await settler.whenIdle();
    expect(sent.map(({ ids }) => ids.length)).toEqual([1_000, 1_000, 500]);
    expect(counts.completed).toBe(2_500);
  });

  test('results are sent by job id; without any none are sent', async () => {
    const { settler, sent } = settlerWith();
    settler.add(attempt(COMPLETE));
    await settler.whenIdle();
    settler.add(attempt(COMPLETE));
    const having = attempt({ verb: 'complete', result: '{"a":1}' });
    settler.add(having);
    await settler.whenIdle();
    expect(sent.map(({ text }) => text)).toEqual([null, `{"${having.id}":{"a":1}}`]);
  });

  test('one that leads is completed by itself when nothing else is to be; its outcome is noted', async () => {
    const { settler, sent, counts } = settlerWith();
    const led = attempt({ verb: 'complete', result: '[1]' });
    led.isLed = true;
    settler.add(led);
    await settler.whenIdle();
    expect(sent.map(({ text }) => text)).toEqual(['[1]']);
    expect([led.outcome, led.isOver, counts.completed]).toEqual(['completed', true, 1]);
    for (const each of [attempt(COMPLETE), attempt(COMPLETE), attempt(FAIL)]) {
      each.isLed = true;
      settler.add(each);
    }
    await settler.whenIdle();
    expect(sent.map(({ ids }) => ids.length)).toEqual([1, 2, 1]);
  });

  test('other ends go apart, and each lease goes apart', async () => {
    const { settler, sent, counts } = settlerWith();
    for (const each of [attempt(COMPLETE), attempt(FAIL), attempt(COMPLETE, '8')]) {
      settler.add(each);
    }
    await settler.whenIdle();
    expect(sent.map(({ leaseId, ids }) => [leaseId, ids.length])).toEqual([
      ['7', 1],
      ['7', 1],
      ['8', 1],
    ]);
    expect(counts).toMatchObject({ completed: 2, failed: 1 });
  });

  test('a lost connection is tried again until it works; a stale answer is uncertain then', async () => {
    const { settler, sent, counts, events } = settlerWith(({ ids }, times) => {
      if (times <= 3) throw unavailable();
      return [ids[0]];
    });
    settler.add(attempt(COMPLETE));
    settler.add(attempt(COMPLETE));
    await settler.whenIdle();
    expect(sent).toHaveLength(4);
    expect(counts).toMatchObject({ completed: 1, stale: 1 });
    expect(events.filter(({ type }) => type === 'settle.failed')).toHaveLength(3);
    expect(events.find(({ type }) => type === 'job.stale')).toMatchObject({ isUncertain: true });
  });

  test('one bad result does not hold up its neighbours and is replaced', async () => {
    const { settler, sent, counts } = settlerWith(({ text }) => {
      if (text?.includes('poison')) throw refused();
      return undefined;
    });
    for (let n = 0; n < 7; n++) settler.add(attempt(COMPLETE));
    settler.add(attempt({ verb: 'complete', result: '"poison"' }));
    await settler.whenIdle();
    expect(counts.completed).toBe(8);
    expect(sent.at(-1)?.text).toContain('result not stored');
  });

  /** Time passes as it is slept. */
  const passing = (): Clock => {
    let now = 0;
    return {
      ...clock,
      monotonic: () => now,
      sleep: (ms) => {
        now += ms;
        return clock.sleep(ms);
      },
    };
  };

  test('of what is refused less and less is settled; after a lease it is given up, and its hold ends', async () => {
    const { settler, sent, counts, events, abandoned } = settlerWith(
      () => {
        throw refused();
      },
      { clock: passing() },
    );
    settler.add(attempt({ verb: 'cancel', reason: 'nicht m\u00f6glich \u{1F600}' }));
    await settler.whenIdle();
    const asks = sent.map(({ text }) => JSON.parse(text ?? '')[0]);
    expect(asks.slice(0, 4).map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['cancel', 'nicht m\u00f6glich \u{1F600}'],
      ['cancel', 'nicht m\\u{F6}glich \\u{1F600}'],
      ['cancel', undefined],
      ['fail', undefined],
    ]);
    expect(asks.slice(4).every(({ outcome }) => outcome === 'fail')).toBe(true);
    expect(asks.length).toBeLessThan(40);
    expect(counts.cancelled + counts.failed).toBe(0);
    expect(abandoned).toEqual(['7']);
    expect(events.at(-1)).toMatchObject({ type: 'job.abandoned' });
    expect([settler.unsettled, settler.jobIds]).toEqual([0, []]);
  });

  test.each<[string, HowdahError]>([
    ['notifications', new HowdahError('HOWDAH_DATABASE_UNAVAILABLE', 'too many notifications')],
    ['privileges', new HowdahError('HOWDAH_PERMISSION_DENIED', 'no')],
    ['a function is gone', sqlError('42883')],
    ['a prepared statement is gone', sqlError('26000')],
  ])('what may pass is tried again for ever, unchanged: %s', async (_, error) => {
    const { settler, sent, counts } = settlerWith(
      (_sent, times) => {
        if (times <= 60) throw error;
      },
      { clock: passing() },
    );
    const having = attempt({ verb: 'complete', result: '{"a":1}' });
    settler.add(having);
    await settler.whenIdle();
    expect(sent).toHaveLength(61);
    expect(sent.at(-1)?.text).toBe(`{"${having.id}":{"a":1}}`);
    expect(counts.completed).toBe(1);
  });

  test('one that fails for a reason nobody knows is tried apart while the others go on', async () => {
    const culprit = attempt({ verb: 'complete', result: '"kept"' });
    let isBroken = true;
    const { settler, sent, counts } = settlerWith(
      ({ ids }) => {
        if (isBroken && ids.includes(culprit.id)) throw sqlError('P0001');
      },
      { clock: passing() },
    );
    for (let n = 0; n < 7; n++) settler.add(attempt(COMPLETE));
    settler.add(culprit);
    while (counts.completed < 7) await clock.sleep(0);
    expect(settler.jobIds).toEqual([culprit.id]);
    settler.add(attempt(COMPLETE));
    while (counts.completed < 8) await clock.sleep(0);
    expect(settler.unsettled).toBe(1);
    isBroken = false;
    await settler.whenIdle();
    expect(counts.completed).toBe(9);
    expect(sent.at(-1)).toMatchObject({ ids: [culprit.id], text: `{"${culprit.id}":"kept"}` });
  });

  test('one that fails so for a lease is settled with less, and given up at last', async () => {
    const { settler, sent, abandoned } = settlerWith(
      () => {
        throw new TypeError('of our own');
      },
      { clock: passing() },
    );
    settler.add(attempt({ verb: 'complete', result: '"kept"' }));
    await settler.whenIdle();
    expect(abandoned).toEqual(['7']);
    const texts = sent.map(({ text }) => text ?? 'bare');
    expect(texts.filter((text) => text.includes('kept')).length).toBeGreaterThan(5);
    const rest = texts.filter((text) => !text.includes('kept'));
    expect(rest).toHaveLength(3);
    expect([rest[0]?.includes('not stored'), rest[1], rest[2]?.includes('fail')]).toEqual([
      true,
      'bare',
      true,
    ]);
  });

  test('an answer that cannot be read, and a listener that throws, stop nothing', async () => {
    const { settler, counts, events } = settlerWith(
      (_sent, times) => (times === 1 ? [null] : undefined),
      { clock: passing() },
    );
    settler.add(attempt(FAIL));
    await settler.whenIdle();
    settler.add(attempt(FAIL));
    await settler.whenIdle();
    expect(counts.failed).toBe(2);
    expect(events.filter(({ type }) => type === 'settle.failed')).toHaveLength(1);
  });

  test('what waits for the transaction of a handler is asked for beside the line', async () => {
    const { settler, sent, asked, counts } = settlerWith(({ text, ids }) =>
      text?.includes('xact') ? ids.map((id) => [id, 'completed', null]) : undefined,
    );
    const own = attempt(FAIL);
    own.isCompletedIn = true;
    own.xact = { id: '77', at: '1764300000000000' };
    settler.add(own);
    settler.add(attempt(COMPLETE));
    await settler.whenIdle();
    expect(asked).toEqual([['pool', own.id]]);
    const first = sent.find(({ text }) => text?.includes('xact'));
    expect(JSON.parse(first?.text ?? '')[0]).toMatchObject({
      outcome: 'fail',
      xact: '77',
      xact_at: '1764300000000000',
    });
    expect(counts).toMatchObject({ completed: 2, stale: 0 });
  });

  test('knows what is unsettled of a lease; giving up ends the waiting', async () => {
    const { settler } = settlerWith(() => {
      throw unavailable();
    });
    settler.add(attempt(COMPLETE));
    expect([settler.has('7'), settler.has('8')]).toEqual([true, false]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(settler.has('7')).toBe(true);
    const idle = settler.whenIdle();
    settler.close();
    await idle;
  });

  test('soon after a statement the next waits for company, unless others wait for it', async () => {
    let now = 100;
    const sleeps: { ms: number; wake: () => void }[] = [];
    const paced: Clock = {
      ...clock,
      monotonic: () => now,
      sleep: (ms, signal) =>
        new Promise((wake) => {
          sleeps.push({ ms, wake });
          signal?.addEventListener('abort', () => wake());
        }),
    };
    let isAwaited = false;
    const { settler, sent } = settlerWith(undefined, { clock: paced, isAwaited: () => isAwaited });
    const moment = () => new Promise((resolve) => setImmediate(resolve));
    const sizes = () => sent.map(({ ids }) => ids.length);
    settler.add(attempt(COMPLETE));
    await moment();
    expect(sizes()).toEqual([1]);
    now = 102;
    settler.add(attempt(COMPLETE));
    await moment();
    settler.add(attempt(COMPLETE));
    await moment();
    expect(sizes()).toEqual([1]);
    expect(sleeps.map(({ ms }) => ms)).toEqual([3]);
    sleeps[0]?.wake();
    await moment();
    expect(sizes()).toEqual([1, 2]);

    settler.add(attempt(COMPLETE));
    await moment();
    settler.add(attempt(COMPLETE, '7', 'group'));
    await moment();
    expect(sizes()).toEqual([1, 2, 2]);

    settler.add(attempt(COMPLETE));
    await moment();
    for (let n = 1; n < 100; n++) settler.add(attempt(COMPLETE));
    await moment();
    expect(sizes()).toEqual([1, 2, 2, 100]);

    isAwaited = true;
    settler.add(attempt(COMPLETE));
    await moment();
    expect(sizes()).toEqual([1, 2, 2, 100, 1]);

    isAwaited = false;
    settler.add(attempt(COMPLETE));
    await moment();
    expect(settler.unsettled).toBe(1);
    await settler.whenIdle();
    expect(sizes()).toEqual([1, 2, 2, 100, 1, 1]);
  });
});
