// CPU seconds from /proc (Linux); NaN elsewhere, and then left out of the tables.
import { readdirSync, readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100;

function readStat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number);
    return { parent: Number(fields[1]), own: utime + stime, reaped: cutime + cstime };
  } catch {
    return null;
  }
}

/** A process with its children, the ended ones included. */
export function treeSeconds(pid) {
  const root = readStat(pid);
  if (!root) return Number.NaN;
  let ticks = root.own + root.reaped;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = readStat(entry);
    if (stat?.parent === pid) ticks += stat.own;
  }
  return ticks / TICKS_PER_SECOND;
}

/** Busy and total CPU seconds of the whole machine. */
export function machineSeconds() {
  try {
    const [, ...fields] = readFileSync('/proc/stat', 'latin1').split('\n')[0].split(/\s+/);
    const ticks = fields.slice(0, 8).map(Number);
    const total = ticks.reduce((sum, value) => sum + value, 0);
    return {
      total: total / TICKS_PER_SECOND,
      busy: (total - ticks[3] - ticks[4]) / TICKS_PER_SECOND,
    };
  } catch {
    return { total: Number.NaN, busy: Number.NaN };
  }
}
