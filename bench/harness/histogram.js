import { build, decodeFromCompressedBase64 } from 'hdr-histogram-js';

/** Latencies are kept in microseconds, to three digits, up to an hour. */
const RANGE = { lowestDiscernibleValue: 1, highestTrackableValue: 3_600_000_000 };

/**
 * The whole distribution of latencies in milliseconds, as text that any HdrHistogram reads. Latencies of
 * an open loop count from when a job was due, so nothing is to be corrected here for what was not sent.
 */
export function encodeHistogram(latencies) {
  const histogram = build({ ...RANGE, numberOfSignificantValueDigits: 3, bitBucketSize: 32 });
  for (const ms of latencies) {
    if (Number.isFinite(ms)) histogram.recordValue(Math.max(0, Math.round(ms * 1000)));
  }
  return histogram.encodeIntoCompressedBase64();
}

/** Points of the percentile curve over several histograms: `[{percentile, ms}]`, denser to the right. */
export function percentileCurve(texts) {
  const [first, ...others] = texts.map((text) => decodeFromCompressedBase64(text, 32));
  for (const other of others) first.add(other);
  const points = [];
  for (let nines = 0; nines <= 4; nines += 0.1) {
    const percentile = 100 * (1 - 10 ** -nines);
    if ((1 - percentile / 100) * first.totalCount < 1) break; // beyond the greatest
    points.push({ percentile, ms: first.getValueAtPercentile(percentile) / 1000 });
  }
  return points;
}
