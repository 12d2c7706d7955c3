import { existsSync } from 'node:fs';
import path from 'node:path';
import { Child, entryOf } from './child.js';
import { type Operation, readOperations } from './logs.js';
import type { Random } from './random.js';

/** Producer processes. They are not harmed: their logs are the truth about what was acknowledged. */
export class Crowd {
  readonly #producers: { readonly child: Child; readonly logFile: string }[];

  constructor(options: {
    readonly packageDir: string;
    readonly dir: string;
    readonly urls: readonly string[];
    readonly random: Random;
    readonly loops: number;
    readonly pauseMs: number;
  }) {
    const { packageDir, dir, urls, random, loops, pauseMs } = options;
    this.#producers = urls.map((url, index) => {
      const logFile = path.join(dir, `producer-${index + 1}.jsonl`);
      const child = new Child('producer.mjs', {
        url,
        dist: entryOf(packageDir),
        index: index + 1,
        seed: random.int(1, 2 ** 20),
        loops,
        pauseMs,
        logFile,
        dedupeKeys: 200,
      });
      return { child, logFile };
    });
  }

  /** Per producer, in the order of its log. */
  get operations(): Operation[][] {
    return this.#producers.map(({ logFile }) =>
      existsSync(logFile) ? readOperations(logFile) : [],
    );
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

  async stop(): Promise<void> {
    await Promise.all(this.#producers.map(({ child }) => child.end('SIGTERM')));
  }
}
