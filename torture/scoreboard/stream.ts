import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, HowdahError } from 'howdah';

const TICK_MS = 10;

/** Enqueues at a rate, whatever comes back: an open loop. */
export class Stream {
  /** Ids that were acknowledged, with the Unix time of the call. */
  readonly acknowledged = new Map<string, number>();
  /** Calls that failed, by code; whether their job is there is not known. */
  readonly codes = new Map<string, number>();
  calls = 0;
  readonly #open = new Set<Promise<void>>();
  readonly #send: (n: number) => Promise<{ readonly id: string }>;
  #isStopped = false;
  readonly #done: Promise<void>;

  constructor(rate: number, send: (n: number) => Promise<{ readonly id: string }>) {
    this.#send = send;
    this.#done = this.#run(rate);
  }

  /** Jobs with this payload. */
  static of(client: Client, queue: string, rate: number, payload: object, options = {}): Stream {
    return new Stream(rate, () => client.enqueue(queue, payload as never, options));
  }

  get ids(): string[] {
    return [...this.acknowledged.keys()];
  }

  get failures(): number {
    return [...this.codes.values()].reduce((sum, n) => sum + n, 0);
  }

  /** Calls that have not come back yet. */
  get open(): number {
    return this.#open.size;
  }

  /** Resolves when the last call has ended. */
  async stop(): Promise<string[]> {
    this.#isStopped = true;
    await this.#done;
    await Promise.all(this.#open);
    return this.ids;
  }

  async #run(rate: number): Promise<void> {
    const begun = performance.now();
    while (!this.#isStopped) {
      const due = Math.floor(((performance.now() - begun) / 1_000) * rate);
      while (this.calls < due) this.#call();
      await sleep(TICK_MS);
    }
  }

  #call(): void {
    this.calls += 1;
    const at = Date.now();
    const call = this.#send(this.calls).then(
      ({ id }) => void this.acknowledged.set(id, at),
      (error) => {
        const code = (error as Partial<HowdahError>).code ?? String(error);
        this.codes.set(code, (this.codes.get(code) ?? 0) + 1);
      },
    );
    this.#open.add(call);
    void call.then(() => this.#open.delete(call));
  }
}

/** Of values, in any order. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
