import type { Lab } from './lab.js';

/** A line of the scoreboard. */
export interface Figure {
  /** S1 to S28. */
  readonly id: string;
  /** What is done. */
  readonly figure: string;
  readonly target: string;
}

/** What one run has shown of a figure. */
export interface Finding {
  /** What was measured, in words and numbers. */
  readonly measured: string;
  /** Faults that provably hit: none of n that went wrong bounds the rate below 3/n. */
  readonly faults: number;
  readonly isMet: boolean;
}

/** What is measured together, in one set-up. */
export interface Subject {
  readonly name: string;
  readonly figures: readonly Figure[];
  /** Why it cannot be measured here; undefined where it can. */
  unable?(): string | undefined;
  /** One finding a figure, in their order. */
  measure(lab: Lab): Promise<readonly Finding[]>;
}
