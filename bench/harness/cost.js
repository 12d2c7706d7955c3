/** What a job costs beside time, for the tables of workloads. */
export const COST_COLUMNS = [
  { key: 'serverCpuUs', label: 'server CPU us/job', digits: 1 },
  { key: 'workerCpuUs', label: 'worker CPU us/job', digits: 1 },
  { key: 'producerCpuUs', label: 'producer CPU us/job', digits: 1 },
  { key: 'walBytes', label: 'WAL bytes/job' },
  { key: 'fsyncsPer1000', label: 'fsyncs/1000', digits: 1 },
];

/** Between two readings of `context.meter()`. What a server cannot tell is NaN, and left out. */
export function serverCost(before, after, count) {
  return {
    serverCpuUs: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / count,
    walBytes: (after.wal_bytes - before.wal_bytes) / count,
    fsyncsPer1000: ((after.fsyncs - before.fsyncs) * 1000) / count,
    hotShare: (after.hot - before.hot) / (after.updated - before.updated),
  };
}

export function workerCost(reports, count) {
  const seconds = reports.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  return { workerCpuUs: (seconds * 1e6) / count };
}
