import { isMainThread } from 'node:worker_threads';

// Loaded before a process. Its clock is wrong by TORTURE_SKEW_MS; what measures durations stays right.
const skewMs = Number(process.env.TORTURE_SKEW_MS ?? 0);
const RealDate = Date;

class SkewedDate extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + skewMs);
    else super(...args);
  }
  static now() {
    return RealDate.now() + skewMs;
  }
}
if (skewMs !== 0) globalThis.Date = SkewedDate;

// It ends with who started it, also where that was killed.
if (isMainThread) {
  process.stdin.once('end', () => process.exit(2));
  process.stdin.resume();
  process.stdin.unref();
}
