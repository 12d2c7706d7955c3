/** Milliseconds of the system-wide monotonic clock: comparable between processes of one machine. */
export const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Milliseconds since 1970 with fractions, for due times. */
export const epochMs = () => performance.timeOrigin + performance.now();

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Looks until the condition holds. */
export async function until(condition, everyMs) {
  while (!(await condition())) await sleep(everyMs);
}
