import { percentileCurve } from './histogram.js';
import { summarise } from './statistics.js';
import { barChart, percentileChart } from './svg.js';

/**
 * The plot of a workload: percentile curves where its runs kept a histogram, else bars of its first column,
 * or of the columns that its `plot` names. Null where there is nothing to draw.
 */
export function plotWorkload(workload, runsByName) {
  const title = `${workload.name}: ${workload.title}`;
  const entries = Object.entries(runsByName);
  const series = entries
    .map(([name, runs]) => [name, runs.map((run) => run.histogram).filter(Boolean)])
    .filter(([, texts]) => texts.length > 0)
    .map(([name, texts]) => ({ name, points: percentileCurve(texts) }));
  if (series.length > 0) return percentileChart({ title, series });
  const keys = workload.plot ?? [workload.columns[0].key];
  const columns = keys.map((key) => workload.columns.find((column) => column.key === key));
  const bars = entries.flatMap(([name, runs]) => {
    const summary = summarise(runs);
    return columns
      .filter(({ key }) => key in summary)
      .map(({ key, label }) => ({
        name: keys.length > 1 ? `${name}, ${label}` : name,
        ...summary[key],
      }));
  });
  if (bars.length === 0) return null;
  const label = keys.length > 1 ? (workload.plotLabel ?? '') : columns[0].label;
  return barChart({ title, label, digits: columns[0].digits, bars });
}
