import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { HowdahErrorCode } from '../../../../src/core/errors.js';
import { queue, toPolicy } from '../../../../src/core/queue/queue.js';

function refuses(run: () => unknown, code: HowdahErrorCode, text: string | RegExp): void {
  expect(run).toThrow(expect.objectContaining({ code, message: expect.stringMatching(text) }));
}

describe('queue', () => {
  test('holds what was declared, frozen', () => {
    const schema = z.object({ to: z.string() });
    const email = queue('email', { schema, attempts: 5, priority: 10, timeout: '30s' });
    expect(email).toMatchObject({ name: 'email', priority: 10, policy: { attempts: 5 } });
    expect(email.schema).toBe(schema);
    expect(Object.isFrozen(email) && Object.isFrozen(email.policy)).toBe(true);
  });

  test('translates only the keys that are given', () => {
    expect(toPolicy(queue('a'))).toEqual({});
    expect(
      toPolicy(
        queue('a', {
          attempts: 3,
          backoff: { type: 'fixed', delay: '10s', max: '1h', jitter: 0 },
          timeout: null,
          ttl: '1d',
          delay: 5,
          retention: 0,
          payloadBytesMax: 1024,
          maxCrashes: 2,
          visibility: '5m',
          deadLetterQueue: queue('a-dead'),
        }),
      ),
    ).toEqual({
      max_attempts: 3,
      backoff: 'fixed',
      backoff_ms: 10_000,
      backoff_max_ms: 3_600_000,
      backoff_jitter: 0,
      timeout_ms: null,
      ttl_ms: 86_400_000,
      delay_ms: 5,
      retention_ms: 0,
      payload_bytes_max: 1024,
      max_crashes: 2,
      visibility_ms: 300_000,
      dead_letter_queue: 'a-dead',
    });
  });

  test.each(['a', 'send-email', 'A.b_c:d/e-1', '9', 'x'.repeat(128)])(
    'accepts the name %s',
    (name) => {
      expect(queue(name).name).toBe(name);
    },
  );

  test.each([
    '',
    'a"b',
    "a'b",
    'ärger',
    '-a',
    'a b',
    'a\n',
    'x'.repeat(300),
    'a\0',
    7 as unknown as string,
    undefined as unknown as string,
  ])('refuses the name %j', (name) => {
    refuses(() => queue(name), 'HOWDAH_QUEUE_NAME_INVALID', 'letter or digit');
  });

  test.each([
    [{ attempts: 0 }, 'attempts'],
    [{ attempts: 1001 }, 'attempts'],
    [{ attempts: 1.5 }, 'attempts'],
    [{ attempts: Number.NaN }, 'attempts'],
    [{ attempts: '3' }, 'attempts'],
    [{ backoff: 'fixed' }, 'backoff'],
    [{ backoff: { type: 'linear' } }, 'backoff.type'],
    [{ backoff: { delay: -1 } }, 'backoff.delay'],
    [{ backoff: { delay: '25d' } }, 'backoff.delay'],
    [{ backoff: { delay: '1h', max: '1s' } }, 'backoff.max'],
    [{ backoff: { jitter: 2 } }, 'backoff.jitter'],
    [{ backoff: { jitter: Number.NaN } }, 'backoff.jitter'],
    [{ backoff: { delya: 1 } }, 'backoff.delya'],
    [{ timeout: 0 }, 'timeout'],
    [{ timeout: '5 parsecs' }, 'timeout'],
    [{ timeout: Number.POSITIVE_INFINITY }, 'timeout'],
    [{ ttl: '11000w' }, 'ttl'],
    [{ delay: -5 }, 'delay'],
    [{ delay: null }, 'delay'],
    [{ retention: 'P1D' }, 'retention'],
    [{ payloadBytesMax: 0 }, 'payloadBytesMax'],
    [{ payloadBytesMax: 1e9 }, 'payloadBytesMax'],
    [{ maxCrashes: 0 }, 'maxCrashes'],
    [{ visibility: '13h' }, 'visibility'],
    [{ visibility: -1 }, 'visibility'],
    [{ deadLetterQueue: 'q' }, 'own deadLetterQueue'],
    [{ schema: {} }, 'schema'],
    [{ atempts: 3 }, 'atempts does not exist'],
    [{ constructor: 3 }, 'constructor does not exist'],
  ])('refuses the options %j', (options, text) => {
    refuses(() => queue('q', options as object), 'HOWDAH_OPTION_INVALID', text);
  });

  test('refuses a priority and a dead-letter queue that cannot be', () => {
    refuses(() => queue('q', { priority: 101 }), 'HOWDAH_PRIORITY_INVALID', '101');
    refuses(() => queue('q', { priority: Number.NaN }), 'HOWDAH_PRIORITY_INVALID', 'NaN');
    refuses(() => queue('q', { deadLetterQueue: 'a b' }), 'HOWDAH_QUEUE_NAME_INVALID', 'a b');
  });
});
