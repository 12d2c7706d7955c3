import { availableParallelism, cpus, platform } from 'node:os';
import type { Figure, Finding, Subject } from './subject.js';

/** A line of the board after a run. */
export interface Line extends Figure {
  readonly verdict: 'ok' | 'missed' | 'not run';
  /** What was measured, or why nothing was. */
  readonly measured: string;
  readonly faults: number;
  readonly scale: number;
  readonly seed: string;
  readonly seconds: number;
  readonly version: string;
  readonly machine: string;
  /** Processes that wanted a processor at its end, of the last minute: the load average. */
  readonly load: number;
  /** Day of the run. */
  readonly on: string;
}

/** What is the same for all lines of a run. */
export type Run = Pick<Line, 'scale' | 'seed' | 'version' | 'machine' | 'on'>;

export function describeMachine(): string {
  const model = cpus()[0]?.model.trim() ?? 'processor unknown';
  return `${availableParallelism()} x ${model}, ${platform()}, Node ${process.versions.node}`;
}

/** Lines of a subject: findings, or one reason for all of them. */
export function linesOf(
  { figures }: Subject,
  findings: readonly Finding[] | string,
  run: Run & Pick<Line, 'seconds' | 'load'>,
): Line[] {
  return figures.map((figure, i) => {
    const base = { ...run, ...figure };
    const found = typeof findings === 'string' ? undefined : findings[i];
    if (!found) return { ...base, verdict: 'not run', measured: String(findings), faults: 0 };
    const { measured, faults, isMet } = found;
    return { ...base, verdict: isMet ? 'ok' : 'missed', measured, faults };
  });
}

export function numberOf(id: string): number {
  return Number(id.slice(1));
}

export function print({ id, verdict, figure, target, measured, faults }: Line): string {
  return `${id.padEnd(4)} ${verdict.padEnd(7)} ${figure}\n             target    ${target}\n             measured  ${measured}\n             faults    ${faults}`;
}
