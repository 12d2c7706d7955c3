import { whenAborted } from './time/abort.js';

/** The only source of time and chance, so that tests can put another in its place. */
export interface Clock {
  /** Milliseconds since 1970, for people. Never compared with a time of the database. */
  now(): number;
  /** Milliseconds that never go back: for durations and deadlines. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** From 0 up to, not including, 1. */
  random(): number;
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const done = (): void => {
        clearTimeout(timer);
        forget();
        resolve();
      };
      const timer = setTimeout(done, ms);
      const forget = whenAborted(signal, done);
    }),
};
