/** How far back a claim begins after one that came back short. */
const NEAR_MS = 250;
/** How far back the occasional deep claim begins. */
const FAR_MS = 2_000;
/** Distance between two remembered positions, and the least distance between two deep claims. */
const STEP_MS = 50;
/** What deep claims cost beyond others may take at most this share of the time. */
const DEEP_SHARE = 0.02;
/** So many lanes keep their cursors however long nothing is claimed in them. */
const LANES_KEPT = 8;
/** Of more lanes, those are forgotten in which nothing was claimed for this long. */
const FORGET_MS = 60_000;
/** Weight of the newest duration of an ordinary claim. */
const WEIGHT = 0.2;

/** Where a claim begins: lanes and, aligned with them, the highest seq to skip. */
export interface ClaimStart {
  readonly lanes: readonly number[];
  readonly after: readonly number[];
  readonly isDeep: boolean;
}

interface Position {
  readonly at: number;
  readonly seqs: ReadonlyMap<number, number>;
}

/**
 * The claim cursors of one queue: the highest seq claimed, per lane. A claim that begins there skips
 * every dead index entry behind it. Sequences are not commit order, so some claims begin where the
 * cursor stood a while ago, to find rows that were committed late:
 *
 *   after a claim that came back full     at the cursor
 *   after one that came back short        where it stood 250 ms ago
 *   every 50 ms, if that is cheap         where it stood 2 s ago
 *
 * What is later still is found by the sweep (maintenance). Times are monotonic milliseconds.
 */
export class Cursors {
  #seqs = new Map<number, number>();
  /** Oldest first. The first is at least FAR_MS old, or the beginning. */
  #history: Position[] = [];
  #wasShort = false;
  #deepAt = Number.NEGATIVE_INFINITY;
  #deepEveryMs = STEP_MS;
  /** How long a claim takes that is not deep. */
  #usualMs = 0;
  /** Of more than {@link LANES_KEPT} lanes: when each was seen to move last, and to where. */
  #moves = new Map<number, { readonly at: number; readonly seq: number }>();

  /** Where the claim that is sent now begins. */
  start(now: number): ClaimStart {
    this.#remember(now);
    const isDeep = now - this.#deepAt >= this.#deepEveryMs;
    if (isDeep) this.#deepAt = now;
    const backMs = isDeep ? FAR_MS : this.#wasShort ? NEAR_MS : 0;
    const seqs = backMs === 0 ? this.#seqs : this.#at(now - backMs);
    const lanes = [...seqs.keys()];
    return { lanes, after: lanes.map((lane) => seqs.get(lane) ?? 0), isDeep };
  }

  /** Notes a claimed row. */
  advance(lane: number, seq: number): void {
    const known = this.#seqs.get(lane);
    if (known === undefined || seq > known) this.#seqs.set(lane, seq);
  }

  /** Notes how a claim went. A deep one that took long makes deep ones rarer, down to one a second. */
  finish(start: ClaimStart, isShort: boolean, tookMs: number): void {
    this.#wasShort = isShort;
    if (start.isDeep) {
      const extraMs = tookMs - this.#usualMs;
      this.#deepEveryMs = Math.min(1_000, Math.max(STEP_MS, extraMs / DEEP_SHARE));
    } else this.#usualMs += (tookMs - this.#usualMs) * WEIGHT;
  }

  /** Lanes that were used once, by jobs of many priorities, are looked into no more: claims find them without. */
  #forgetLanes(now: number): void {
    if (this.#seqs.size <= LANES_KEPT) return;
    for (const [lane, seq] of this.#seqs) {
      if (this.#moves.get(lane)?.seq !== seq) this.#moves.set(lane, { at: now, seq });
    }
    const byMove = [...this.#moves].sort(([, a], [, b]) => b.at - a.at);
    for (const [lane, { at }] of byMove.slice(LANES_KEPT)) {
      if (now - at < FORGET_MS) continue;
      this.#seqs.delete(lane);
      this.#moves.delete(lane);
    }
  }

  /** Forgets everything: the next claim begins at zero. For a database whose sequence went back. */
  reset(): void {
    this.#seqs = new Map();
    this.#history = [];
    this.#moves = new Map();
    this.#deepAt = Number.NEGATIVE_INFINITY;
  }

  #remember(now: number): void {
    const last = this.#history.at(-1);
    if (last && now - last.at < STEP_MS) return;
    this.#forgetLanes(now);
    this.#history.push({ at: now, seqs: new Map(this.#seqs) });
    while ((this.#history[1]?.at ?? now) <= now - FAR_MS) this.#history.shift();
  }

  /** The newest position remembered at or before a time: never ahead of where the cursor stood. */
  #at(time: number): ReadonlyMap<number, number> {
    for (let i = this.#history.length - 1; i >= 0; i--) {
      const position = this.#history[i];
      if (position && position.at <= time) return position.seqs;
    }
    return new Map();
  }
}
