import path from 'node:path';
import { waitFor } from '../test/support/wait-for.js';
import type { Build } from './build.js';
import { Child, entryOf } from './child.js';
import { type WorkerLine, WorkerLog } from './logs.js';
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
  readonly build: Build;
  readonly child: Child;
  readonly log: WorkerLog;
}

/** Worker processes, one a place; who falls is replaced. */
export class Fleet {
  /** The first is what a place begins with. */
  readonly builds: readonly Build[];
  readonly #dir: string;
  readonly #random: Random;
  /** Everybody who ever was. */
  readonly all: Member[] = [];
  readonly #current = new Map<Place, Member>();
  #isOver = false;

  constructor(options: { builds: readonly Build[]; dir: string; random: Random }) {
    this.builds = options.builds;
    this.#dir = options.dir;
    this.#random = options.random;
  }

  get members(): Member[] {
    return [...this.#current.values()];
  }

  /** @param build default: the first */
  start(place: Place, build: Build | undefined = this.builds[0]): Member {
    if (!build) throw new Error('a fleet without a build');
    const name = `w${this.all.length + 1}`;
    const logFile = path.join(this.#dir, `worker-${name}.jsonl`);
    const child = new Child(
      'worker.mjs',
      {
        url: place.url,
        dist: entryOf(build.packageDir),
        name,
        seed: this.#random.int(1, 2 ** 30),
        logFile,
      },
      { skewMs: place.skewMs },
    );
    const member = { name, place, build, child, log: new WorkerLog(logFile, name) };
    this.all.push(member);
    this.#current.set(place, member);
    void child.exited.then(() => this.#replace(member));
    return member;
  }

  linesOf({ log }: Member): readonly WorkerLine[] {
    return log.lines;
  }

  /** Ends a worker in good order; another build takes its place. */
  async exchange(member: Member, build: Build): Promise<Member> {
    this.#current.delete(member.place);
    await member.child.end('SIGTERM');
    return this.start(member.place, build);
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

  /** Ends all of them the hard way. */
  kill(): void {
    this.#isOver = true;
    for (const { child } of this.all) child.kill('SIGKILL');
  }

  #replace(member: Member): void {
    if (this.#isOver || this.#current.get(member.place) !== member) return;
    this.start(member.place, member.build);
  }
}
