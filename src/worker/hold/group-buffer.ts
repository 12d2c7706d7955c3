import type { ClaimedRow } from '../../db/calls/claim.js';

/** Jobs of one group key, in the order in which they were claimed, and since when the first waits. */
interface Waiting {
  rows: ClaimedRow[];
  since: number;
}

/** No key is empty: this is of jobs that are in no group, which are gathered among themselves. */
const NO_KEY = '';

/** As a {@link JobBuffer}, for calls that get jobs of one group key only. */
export class GroupBuffer {
  /** By key, the one that has waited longest first. */
  readonly #groups = new Map<string, Waiting>();
  length = 0;
  /** Since when the first of them waits without any having begun. */
  waitingSince = 0;

  add(rows: readonly ClaimedRow[], now: number): void {
    if (this.length === 0) this.waitingSince = now;
    for (const row of rows) {
      const key = row[5]?.[7] ?? NO_KEY;
      const waiting = this.#groups.get(key);
      if (waiting) waiting.rows.push(row);
      else this.#groups.set(key, { rows: [row], since: now });
    }
    this.length += rows.length;
  }

  /**
   * When the next call is to begin: a key that has `size` jobs is due at once, others when their first
   * has waited for `waitMs`; infinity when nothing waits.
   */
  dueAt(size: number, waitMs: number, now: number): number {
    let dueAt = Number.POSITIVE_INFINITY;
    for (const { rows, since } of this.#groups.values()) {
      if (rows.length >= size) return now;
      dueAt = Math.min(dueAt, since + waitMs);
    }
    return dueAt;
  }

  /** Jobs of one key that is due, at most `size`; none where no key is. */
  takeBatch(size: number, waitMs: number, now: number): ClaimedRow[] {
    for (const [key, { rows, since }] of this.#groups) {
      if (rows.length < size && now < since + waitMs) continue;
      const batch = rows.splice(0, size);
      // the others of this key stand behind the other keys
      this.#groups.delete(key);
      if (rows.length > 0) this.#groups.set(key, { rows, since: now });
      this.length -= batch.length;
      this.waitingSince = now;
      return batch;
    }
    return [];
  }

  takeAll(): ClaimedRow[] {
    const rows = [...this.#groups.values()].flatMap((waiting) => waiting.rows);
    this.#groups.clear();
    this.length = 0;
    return rows;
  }

  /** Takes out those whose id is wanted. */
  takeIds(ids: ReadonlySet<string>): ClaimedRow[] {
    const taken: ClaimedRow[] = [];
    for (const [key, waiting] of this.#groups) {
      taken.push(...waiting.rows.filter((row) => ids.has(row[0])));
      waiting.rows = waiting.rows.filter((row) => !ids.has(row[0]));
      if (waiting.rows.length === 0) this.#groups.delete(key);
    }
    this.length -= taken.length;
    return taken;
  }

  ids(): string[] {
    return [...this.#groups.values()].flatMap(({ rows }) => rows.map((row) => row[0]));
  }
}
