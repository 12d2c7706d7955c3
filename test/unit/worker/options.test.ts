import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../src/core/errors.js';
import { queue } from '../../../src/core/queue/queue.js';
import { work } from '../../../src/worker/handler/binding.js';
import { resolveWorkerOptions, type WorkerOptions } from '../../../src/worker/options.js';

const queues = [work('email', () => undefined)];

function refusal(options: object): HowdahError {
  try {
    resolveWorkerOptions({ queues, ...options } as WorkerOptions);
  } catch (error) {
    if (error instanceof HowdahError) return error;
  }
  throw new Error('was accepted');
}

describe('resolveWorkerOptions', () => {
  test('fills in defaults', () => {
    expect(resolveWorkerOptions({ queues })).toMatchObject({
      leaseMs: 30_000,
      heartbeatMs: 10_000,
      pollMs: 2_000,
      graceMs: 30_000,
      isMaintaining: true,
    });
  });

  test('the heartbeat follows the lease', () => {
    expect(resolveWorkerOptions({ queues, lease: '2s' }).heartbeatMs).toBe(666);
  });

  test.each([
    [{ lease: '500ms' }, 'lease'],
    [{ lease: '2h' }, 'lease'],
    [{ lease: '10s', heartbeat: '6s' }, 'heartbeat'],
    [{ heartbeat: 10 }, 'heartbeat'],
    [{ poll: 1 }, 'poll'],
    [{ startWithin: '2d' }, 'startWithin'],
    [{ grace: -1 }, 'grace'],
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(201) }, 'name'],
    [{ maintain: 'yes' }, 'maintain'],
    [{ logger: {} }, 'logger'],
    [{ queues: [] }, 'queues'],
    [{ leese: '30s' }, 'leese'],
  ])('refuses %j and names the option', (options, option) => {
    const error = refusal(options);
    expect(error.code).toBe('HOWDAH_OPTION_INVALID');
    expect(error.message).toContain(option);
  });

  test('refuses what is not a binding, and two handlers of a queue', () => {
    expect(refusal({ queues: [{}] }).code).toBe('HOWDAH_HANDLER_INVALID');
    expect(refusal({ queues: [...queues, ...queues] }).message).toContain('email has two handlers');
  });
});

describe('work', () => {
  test('takes a name or a declared queue', () => {
    expect(work(queue('plain'), () => undefined)).toMatchObject({ name: 'plain', concurrency: 10 });
  });

  test.each([
    [{ concurrency: 0 }, 'concurrency'],
    [{ concurrency: 1.5 }, 'concurrency'],
    [{ prefetch: -1 }, 'prefetch'],
    [{ batch: { size: 0 } }, 'batch.size'],
    [{ batch: { size: 10, wait: '2h' } }, 'batch.wait'],
    [{ concurency: 1 }, 'concurency'],
  ])('refuses %j', (options, option) => {
    expect(() => work('email', () => undefined, options as object)).toThrow(option);
  });

  test('refuses a handler that is none', () => {
    expect(() => work('email', 'handler' as never)).toThrow(/not a function/);
  });
});
