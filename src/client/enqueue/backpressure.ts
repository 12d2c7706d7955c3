import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { invalidOption } from '../../core/option.js';
import { backoffMs } from '../../core/time/backoff.js';
import { parseDuration } from '../../core/time/duration.js';
import type { EnqueueOptions, OnFull } from './enqueue-options.js';

const PAUSE = { min: 20, max: 5_000 };
const WAIT_MAX_MS = 30_000;

/** What a client does at a full queue unless a call says otherwise. */
export type FullOptions = Pick<EnqueueOptions, 'onFull' | 'waitMax' | 'signal'>;

/** Runs something until it is not refused by a full queue, or until the wait is over. */
export type WhileFull = <T>(run: () => Promise<T>) => Promise<T>;

/** @throws HowdahError HOWDAH_OPTION_INVALID */
export function checkFullOptions({ onFull, waitMax, signal }: FullOptions): void {
  if (onFull !== undefined && !['throw', 'wait', 'drop-oldest'].includes(onFull)) {
    throw invalidOption('onFull', onFull, "Use 'throw', 'wait' or 'drop-oldest'.");
  }
  if (waitMax !== undefined) parseDuration(waitMax, 'waitMax', { min: 1, max: 86_400_000 });
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw invalidOption('signal', signal, 'Use an AbortSignal.');
  }
}

/** How a call waits, where it does: its own options go before those of the client. */
export function waiterOf(
  call: FullOptions,
  client: FullOptions,
  clock: Clock,
): WhileFull | undefined {
  const policy: OnFull = call.onFull ?? client.onFull ?? 'throw';
  if (policy !== 'wait') return undefined;
  const waitMax = call.waitMax ?? client.waitMax;
  const ms = waitMax === undefined ? WAIT_MAX_MS : parseDuration(waitMax, 'waitMax');
  const signal = call.signal ?? client.signal;
  return (run) => whileFull(run, ms, signal, clock);
}

/** Whether the queue's bound was the reason. */
export function isQueueFull(error: unknown): error is HowdahError {
  return error instanceof HowdahError && error.code === 'HOWDAH_QUEUE_FULL';
}

/**
 * Pauses double from 20 ms to 5 s, with jitter; where the refusal estimates longer, that long, but
 * never more than 5 s.
 * @throws the refusal, with `waitedMs` among its details, when the time is over or the signal aborts
 */
async function whileFull<T>(
  run: () => Promise<T>,
  waitMs: number,
  signal: AbortSignal | undefined,
  clock: Clock,
): Promise<T> {
  const start = clock.monotonic();
  for (let refusals = 1; ; refusals++) {
    try {
      return await run();
    } catch (error) {
      const waitedMs = clock.monotonic() - start;
      if (!isQueueFull(error)) throw error;
      if (signal?.aborted || waitedMs >= waitMs) throw gaveUp(error, waitedMs, signal);
      const estimate = Number(error.details.retryAfterMs ?? 0);
      const pause = Math.max(
        backoffMs(refusals, PAUSE, clock.random()),
        Math.min(estimate, PAUSE.max) * (0.5 + clock.random() / 2),
      );
      await clock.sleep(Math.min(pause, waitMs - waitedMs), signal);
      if (signal?.aborted) throw gaveUp(error, clock.monotonic() - start, signal);
    }
  }
}

function gaveUp(refusal: HowdahError, waitedMs: number, signal?: AbortSignal): HowdahError {
  const isAborted = signal?.aborted === true;
  return new HowdahError(refusal.code, refusal.message, {
    cause: isAborted ? signal.reason : refusal,
    details: { ...refusal.details, waitedMs: Math.round(waitedMs), isAborted },
  });
}
