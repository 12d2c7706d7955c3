// A handler file; what a job does is said by its payload.
import { isMainThread, threadId } from 'node:worker_threads';
import { deadLetter, PermanentError, rateLimited, release, retry, snooze } from 'howdah';

const kept = [];

const actions = {
  returns: ({ payload }) => payload.value,
  where: () => ({ pid: process.pid, isMainThread, threadId }),
  seesJob: (job) => ({
    id: job.id,
    queue: job.queue,
    attempt: job.attempt,
    headers: job.headers,
    isDate: job.enqueuedAt instanceof Date,
  }),
  blocks({ payload }) {
    const until = performance.now() + payload.ms;
    while (performance.now() < until);
    return 'blocked';
  },
  spins() {
    for (;;);
  },
  async waitsForAbort(_job, { signal }) {
    await new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  },
  /** Learns of an abort although it never lets the event loop turn. */
  looksAtSignal(_job, context) {
    const until = performance.now() + 10_000;
    while (performance.now() < until) {
      if (context.signal.aborted) return { told: context.signal.reason.code };
    }
    return 'never told';
  },
  async ignoresAbort() {
    await new Promise((resolve) => setTimeout(resolve, 30_000));
  },
  logs(_job, { log }) {
    log.info('from afar', { answer: 42 });
    log.warn('with a function', { fields: () => undefined });
  },
  completesIn: (_job, context) => context.completeIn({}),
  snoozes: ({ attempt, payload }) => (payload.done ? attempt : snooze('1h')),
  releases: ({ payload }, { log }) => {
    log.info('releasing');
    return payload.done ? undefined : release();
  },
  retries: () => retry('1h', 'not yet'),
  deadLetters: () => deadLetter('no use'),
  throwsPermanent() {
    throw new PermanentError('never');
  },
  throwsRateLimited() {
    throw rateLimited({ retryAfter: '1h', reason: 'HTTP 429' });
  },
  throws() {
    throw Object.assign(new TypeError('broken'), { code: 'E_BROKEN' });
  },
  returnsBigInt: () => ({ n: 1n }),
  exits: ({ attempt }) => (attempt === 1 ? process.exit(7) : 'second attempt'),
  aborts: ({ attempt }) => (attempt === 1 ? process.abort() : 'second attempt'),
  segfaults({ attempt }) {
    if (attempt === 1) process.kill(process.pid, 'SIGSEGV');
    return attempt === 1 ? new Promise(() => undefined) : 'second attempt';
  },
  async throwsInTimer({ attempt }) {
    if (attempt > 1) return 'second attempt';
    setTimeout(() => {
      throw new Error('in a timer');
    }, 0);
    await new Promise(() => undefined);
  },
  exhaustsMemory({ attempt }) {
    if (attempt > 1) return 'second attempt';
    for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => ({ i })));
  },
};

export default function handler(job, context) {
  return actions[job.payload.do](job, context);
}
