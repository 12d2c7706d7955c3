import type { ClaimedRow } from '../../db/calls/claim.js';

/** Claimed jobs that have not begun, first in, first out. All are of one lease. */
export class JobBuffer {
  #rows: ClaimedRow[] = [];
  #head = 0;
  /** Since when the first of them waits without any having begun. */
  waitingSince = 0;

  get length(): number {
    return this.#rows.length - this.#head;
  }

  add(rows: ClaimedRow[], now: number): void {
    if (this.length === 0) {
      this.#rows = rows;
      this.#head = 0;
      this.waitingSince = now;
    } else {
      this.#rows = this.#rows.slice(this.#head).concat(rows);
      this.#head = 0;
    }
  }

  /** To begin before the others. */
  addFirst(row: ClaimedRow, now: number): void {
    if (this.length === 0) this.add([row], now);
    else if (this.#head > 0) this.#rows[--this.#head] = row;
    else this.#rows.unshift(row);
  }

  take(now: number): ClaimedRow | undefined {
    const row = this.#rows[this.#head];
    if (row === undefined) return undefined;
    this.#head++;
    this.waitingSince = now;
    return row;
  }

  /** When the next call is to begin, as if all were of one key: see {@link GroupBuffer}. */
  dueAt(size: number, waitMs: number, now: number): number {
    if (this.length === 0) return Number.POSITIVE_INFINITY;
    return waitMs === 0 || this.length >= size ? now : this.waitingSince + waitMs;
  }

  takeAll(): ClaimedRow[] {
    const rows = this.#rows.slice(this.#head);
    this.#rows = [];
    this.#head = 0;
    return rows;
  }

  /** Takes out those whose id is wanted. */
  takeIds(ids: ReadonlySet<string>): ClaimedRow[] {
    const rows = this.#rows.slice(this.#head);
    this.#rows = rows.filter((row) => !ids.has(row[0]));
    this.#head = 0;
    return rows.filter((row) => ids.has(row[0]));
  }

  ids(): string[] {
    return this.#rows.slice(this.#head).map((row) => row[0]);
  }
}
