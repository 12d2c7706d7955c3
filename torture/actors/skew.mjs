// Loaded before a process: its clock is wrong by TORTURE_SKEW_MS. What measures durations stays right.
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
