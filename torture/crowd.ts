import path from 'node:path';
import type { Build } from './build.js';
import { Child, entryOf } from './child.js';
import { type Operation, OperationLog } from './logs.js';
import type { Random } from './random.js';

/** Producer processes. They are not harmed: their logs are the truth about what was acknowledged. */
export class Crowd {
  readonly #producers: { readonly child: Child; readonly log: OperationLog }[];

  constructor(options: {
    /** The last producer runs the last build, all others the first. */
    readonly builds: readonly Build[];
    readonly dir: string;
    readonly urls: readonly string[];
    readonly random: Random;
    readonly loops: number;
    readonly pauseMs: number;
  }) {
    const { builds, dir, urls, random, loops, pauseMs } = options;
    this.#producers = urls.map((url, index) => {
      const build = index === urls.length - 1 ? builds.at(-1) : builds[0];
      if (!build) throw new Error('a crowd without a build');
      const logFile = path.join(dir, `producer-${index + 1}.jsonl`);
      const child = new Child('producer.mjs', {
        url,
        dist: entryOf(build.packageDir),
        index: index + 1,
        seed: random.int(1, 2 ** 20),
        loops,
        pauseMs,
        logFile,
        dedupeKeys: 200,
      });
      return { child, log: new OperationLog(logFile) };
    });
  }

  /** Per producer, in the order of its log. */
  get operations(): Operation[][] {
    return this.#producers.map(({ log }) => log.operations);
  }

  get failures(): number {
    return this.operations.flat().filter(({ end }) => end === 'failed').length;
  }

  get acknowledged(): number {
    return this.operations.flat().filter(({ end }) => end === 'ok').length;
  }

  /** What is wrong with the processes themselves. */
  get faults(): string[] {
    return this.#producers.flatMap(({ child }, i) =>
      child.isRunning || child.exitCode === 0
        ? []
        : [`producer ${i + 1} ended with ${child.exitCode}: ${child.errors}`],
    );
  }

  kill(): void {
    for (const { child } of this.#producers) child.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    await Promise.all(this.#producers.map(({ child }) => child.end('SIGTERM')));
  }
}
