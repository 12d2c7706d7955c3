import { existsSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '../test/support/wait-for.js';
import { Child, entryOf } from './child.js';
import { readWorkerLog, type WorkerLine } from './logs.js';
import type { Random } from './random.js';

/** How the members of a fleet differ. */
export interface Place {
  /** What they connect to. */
  readonly url: string;
  /** How wrong their clock is, in milliseconds. */
  readonly skewMs: number;
}

/** A worker process. */
export interface Member {
  readonly name: string;
  readonly place: Place;
  readonly child: Child;
  readonly logFile: string;
}

/** Worker processes, one a place; who falls is replaced. */
export class Fleet {
  readonly #packageDir: string;
  readonly #dir: string;
  readonly #random: Random;
  /** Everybody who ever was. */
  readonly all: Member[] = [];
  readonly #current = new Map<Place, Member>();
  #isOver = false;

  constructor(options: { packageDir: string; dir: string; random: Random }) {
    this.#packageDir = options.packageDir;
    this.#dir = options.dir;
    this.#random = options.random;
  }

  get members(): Member[] {
    return [...this.#current.values()];
  }

  start(place: Place): Member {
    const name = `w${this.all.length + 1}`;
    const logFile = path.join(this.#dir, `worker-${name}.jsonl`);
    const child = new Child(
      'worker.mjs',
      {
        url: place.url,
        dist: entryOf(this.#packageDir),
        name,
        seed: this.#random.int(1, 2 ** 30),
        logFile,
      },
      place.skewMs,
    );
    const member = { name, place, child, logFile };
    this.all.push(member);
    this.#current.set(place, member);
    void child.exited.then(() => this.#replace(member));
    return member;
  }

  linesOf({ logFile, name }: Member): WorkerLine[] {
    return existsSync(logFile) ? readWorkerLog(logFile, name) : [];
  }

  /** Events of a kind, of everybody who ever was. */
  count(type: string): number {
    return this.all.reduce(
      (sum, member) => sum + this.linesOf(member).filter((line) => line.type === type).length,
      0,
    );
  }

  /** Waits until it has said something of this kind after the line numbered `after`. */
  async heard(member: Member, types: readonly string[], after: number, timeoutMs: number) {
    return waitFor(
      () =>
        this.linesOf(member)
          .slice(after)
          .find((line) => types.includes(line.type)),
      { timeoutMs, intervalMs: 100, what: `${member.name} to say ${types.join(' or ')}` },
    );
  }

  /** Ends all of them in good order; who does not end in time is killed. Returns how many were. */
  async stop(): Promise<number> {
    this.#isOver = true;
    let killed = 0;
    await Promise.all(
      this.members.map(async ({ child }) => {
        child.kill('SIGCONT');
        child.kill('SIGTERM');
        const late = setTimeout(() => {
          killed += 1;
          child.kill('SIGKILL');
        }, 20_000);
        await child.exited;
        clearTimeout(late);
      }),
    );
    return killed;
  }

  #replace(member: Member): void {
    if (this.#isOver || this.#current.get(member.place) !== member) return;
    this.start(member.place);
  }
}
