import type { ClaimedRow } from '../../db/calls/claim.js';
import type { Attempt } from '../settle/attempt.js';

/** With this many no more are asked for. */
const FOLLOWERS_MAX = 1_000;

/** Members of one group that wait here, behind one that is about to run, runs, or is being settled. */
interface Line {
  leaderId: string;
  readonly rows: ClaimedRow[];
  readonly since: number;
}

/**
 * Claimed members of groups, each of which may begin only when the one before it is settled (see
 * `migrations/0022_turns.sql`). The one before it is its leader:
 *   leader ended              the first of the line begins, and leads the others
 *   leader is to run again    the line is given back
 *   line too old              it is given back: a paused queue, or another turn, waits for it
 */
export class Followers {
  readonly #lines = new Map<string, Line>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get isFull(): boolean {
    return this.#length >= FOLLOWERS_MAX;
  }

  /** Keeps the followers among claimed jobs. @returns the others */
  keep(rows: ClaimedRow[], now: number): ClaimedRow[] {
    if (!rows.some(isFollower)) return rows;
    const leaders = new Map<string, string>();
    return rows.filter((row) => {
      const group = row[5]?.[7];
      if (typeof group !== 'string') return true;
      if (!isFollower(row)) {
        leaders.set(group, row[0]);
        return true;
      }
      let line = this.#lines.get(group);
      if (!line) {
        line = { leaderId: leaders.get(group) ?? '', rows: [], since: now };
        this.#lines.set(group, line);
      }
      line.rows.push(row);
      this.#length++;
      return false;
    });
  }

  /** Whether others wait for this attempt to be settled. */
  isLed(attempt: Attempt): boolean {
    if (attempt.group === null || this.#length === 0) return false;
    return this.#lines.get(attempt.group)?.leaderId === attempt.id;
  }

  /** The first of the line of a group. It leads the others from now on. */
  next(group: string): ClaimedRow | undefined {
    const line = this.#lines.get(group);
    const row = line?.rows.shift();
    if (!line || !row) return undefined;
    this.#length--;
    line.leaderId = row[0];
    if (line.rows.length === 0) this.#lines.delete(group);
    return row;
  }

  /** Takes out the line of a group. */
  take(group: string): ClaimedRow[] {
    const rows = this.#lines.get(group)?.rows ?? [];
    this.#lines.delete(group);
    this.#length -= rows.length;
    return rows;
  }

  takeAll(): ClaimedRow[] {
    return [...this.#lines.keys()].flatMap((group) => this.take(group));
  }

  /** Takes out lines that came at or before a time. */
  takeOld(time: number): ClaimedRow[] {
    if (this.#length === 0) return [];
    const old = [...this.#lines].filter(([, { since }]) => since <= time);
    return old.flatMap(([group]) => this.take(group));
  }

  /** Takes out those whose id is wanted. */
  takeIds(ids: ReadonlySet<string>): ClaimedRow[] {
    const taken: ClaimedRow[] = [];
    for (const [group, line] of this.#lines) {
      const wanted = line.rows.filter((row) => ids.has(row[0]));
      if (wanted.length === 0) continue;
      const others = this.take(group).filter((row) => !ids.has(row[0]));
      taken.push(...wanted);
      if (others.length === 0) continue;
      this.#lines.set(group, { ...line, rows: others });
      this.#length += others.length;
    }
    return taken;
  }

  ids(): string[] {
    return [...this.#lines.values()].flatMap(({ rows }) => rows.map((row) => row[0]));
  }
}

function isFollower(row: ClaimedRow): boolean {
  return row[5]?.[8] === true;
}
