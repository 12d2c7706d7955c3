export function percentile(sorted, share) {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median, least and greatest of each metric over the runs of one contender. */
export function summarise(runs) {
  const summary = {};
  for (const key of new Set(runs.flatMap((run) => Object.keys(run)))) {
    const values = runs.map((run) => run[key]).filter((value) => Number.isFinite(value));
    if (values.length === 0) continue;
    summary[key] = { median: median(values), min: Math.min(...values), max: Math.max(...values) };
  }
  return summary;
}

/** p50, p90, p99, p99.9 and the greatest of latencies in milliseconds. */
export function latencyMetrics(latencies) {
  const sorted = Float64Array.from(latencies).sort();
  return {
    p50: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    p99: percentile(sorted, 0.99),
    p999: percentile(sorted, 0.999),
    worst: sorted.at(-1),
    least: sorted[0],
  };
}

/**
 * What `runs` did of what `others` did in the same round, metric by metric: runs that lay side by side
 * shared the machine's good and bad minutes.
 */
export function pairedRatios(runs, others) {
  const rounds = Math.min(runs.length, others.length);
  const ratios = Array.from({ length: rounds }, (_, i) =>
    Object.fromEntries(
      Object.entries(runs[i]).map(([key, value]) => [key, value / others[i][key]]),
    ),
  );
  return summarise(ratios);
}

/** The greatest number of `sorted` times within any window that begins at one of them. */
export function mostWithin(sorted, windowMs) {
  let most = 0;
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while (sorted[to] - sorted[from] >= windowMs) from++;
    most = Math.max(most, to - from + 1);
  }
  return most;
}
