import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import { HowdahError } from '../../../../src/core/errors.js';
import { EventHub, type WorkerEvent } from '../../../../src/core/events.js';
import { Attempt } from '../../../../src/worker/settle/attempt.js';
import { Reporter } from '../../../../src/worker/settle/reporter.js';

interface Sent {
  readonly leaseId: string;
  readonly reports: { id: string; progress?: unknown; lines?: unknown[]; dropped?: number }[];
}

function reporterWith(answer: (sent: Sent) => string[] | Promise<string[]> = () => []) {
  const sent: Sent[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => performance.now(),
    random: () => 0.5,
    sleep: () => Promise.resolve(),
  };
  const events: WorkerEvent[] = [];
  const hub = new EventHub();
  hub.add((event) => events.push(event));
  const reporter = new Reporter({
    calls: {
      watch: async () => [],
      report: async (_, leaseId, text) => {
        const statement = { leaseId, reports: JSON.parse(text) };
        sent.push(statement);
        return answer(statement);
      },
    },
    pool: { query: async () => [] },
    clock,
    hub,
  });
  return { reporter, sent, events };
}

let made = 0;
const attempt = (leaseId = '7'): Attempt => {
  made += 1;
  return new Attempt([String(made), {}, 0, 10, 201, null], 'q', leaseId);
};

describe('Reporter', () => {
  test('writes the last progress and all lines of many jobs in one statement a lease', async () => {
    const { reporter, sent } = reporterWith();
    const [a, b, other] = [attempt(), attempt(), attempt('8')];
    reporter.progress([a, b], 1);
    reporter.progress([a], 2);
    reporter.line(a, 'info', 'hello', undefined);
    reporter.line(other, 'warn', 'there', { x: 1 });
    expect(a.isReporting).toBe(true);
    await reporter.flush([a, b, other]);
    expect(sent).toMatchObject([
      {
        leaseId: '7',
        reports: [
          { id: a.id, attempt: 1, progress: 2, lines: [{ level: 'info', message: 'hello' }] },
          { id: b.id, attempt: 1, progress: 1 },
        ],
      },
      { leaseId: '8', reports: [{ id: other.id, lines: [{ fields: { x: 1 } }] }] },
    ]);
    expect([a, b, other].map(({ isReporting }) => isReporting)).toEqual([false, false, false]);
    reporter.close();
  });

  test('what is said while a statement is under way goes with the next', async () => {
    let release = (): void => undefined;
    const { reporter, sent } = reporterWith(
      () =>
        new Promise((resolve) => {
          release = () => resolve([]);
        }),
    );
    const job = attempt();
    reporter.progress([job], 'first');
    const flushed = reporter.flush([job]);
    reporter.progress([job], 'second');
    release();
    await expect.poll(() => sent.length).toBe(2);
    release();
    await flushed;
    expect(sent.map(({ reports }) => reports[0]?.progress)).toEqual(['first', 'second']);
    reporter.close();
  });

  test('keeps a bounded number of lines, and counts the others', async () => {
    const { reporter, sent } = reporterWith();
    const job = attempt();
    for (let i = 1; i <= 250; i += 1) reporter.line(job, 'info', `line ${i}`, undefined);
    await reporter.flush([job]);
    expect(sent[0]?.reports[0]?.lines).toHaveLength(200);
    expect(sent[0]?.reports[0]?.dropped).toBe(50);
    expect(sent[0]?.reports[0]?.lines?.[199]).toMatchObject({ message: 'line 250' });
    reporter.close();
  });

  test('tries again while the database is away, then drops and says so; the flush ends', async () => {
    let fails = 2;
    const { reporter, sent, events } = reporterWith(() => {
      fails -= 1;
      if (fails >= 0) throw new HowdahError('HOWDAH_DATABASE_UNAVAILABLE', 'gone');
      return [];
    });
    const job = attempt();
    reporter.progress([job], 1);
    await reporter.flush([job]);
    expect([sent.length, events.length]).toEqual([3, 0]);
    fails = 9;
    reporter.progress([job], 2);
    await reporter.flush([job]);
    expect(sent).toHaveLength(6);
    expect(events).toMatchObject([
      { type: 'report.failed', jobs: 1, error: { code: 'HOWDAH_DATABASE_UNAVAILABLE' } },
    ]);
    // what it refuses is not tried again
    const refused = reporterWith(() => {
      throw new HowdahError('HOWDAH_REPORT_INVALID', 'no');
    });
    refused.reporter.progress([job], 3);
    await refused.reporter.flush([job]);
    expect([refused.sent.length, refused.events.length]).toEqual([1, 1]);
    reporter.close();
    refused.reporter.close();
  });

  test('stale jobs, and those that have ended, are told of once', async () => {
    const { reporter, events } = reporterWith(({ reports }) => reports.map(({ id }) => id));
    const [stale, ended] = [attempt(), attempt()];
    for (const value of [1, 2]) {
      reporter.progress([stale], value);
      await reporter.flush([stale]);
    }
    ended.settlement = { verb: 'complete' };
    reporter.progress([ended], 1);
    reporter.line(ended, 'info', 'x', undefined);
    expect(ended.isReporting).toBe(false);
    expect(events.map(({ type }) => type)).toEqual(['job.report-ignored', 'job.report-ignored']);
    reporter.close();
  });

  test('closed, it lets go of everything', async () => {
    const { reporter, sent } = reporterWith();
    const job = attempt();
    reporter.progress([job], 1);
    reporter.close();
    await reporter.flush([job]);
    expect([job.isReporting, sent.length]).toEqual([false, 0]);
  });
});
