import type { Client } from 'howdah';

/** What became of the jobs of a {@link Producer}. */
export class Producer {
  /** Ids that the database has acknowledged. */
  readonly acknowledged: string[] = [];
  /** Calls that failed; whether their job is there is not known. */
  failures = 0;
  #isStopped = false;
  readonly #loops: Promise<unknown>;

  /** Enqueues without a pause, a few at once, until it is stopped; an error stops nothing. */
  constructor(client: Client, queue: string, payload: object, { loops = 4, pauseMs = 10 } = {}) {
    this.#loops = Promise.all(
      Array.from({ length: loops }, () => this.#loop(client, queue, payload, pauseMs)),
    );
  }

  /** Resolves when the last call has ended. */
  async stop(): Promise<string[]> {
    this.#isStopped = true;
    await this.#loops;
    return this.acknowledged;
  }

  async #loop(client: Client, queue: string, payload: object, pauseMs: number): Promise<void> {
    while (!this.#isStopped) {
      try {
        this.acknowledged.push((await client.enqueue(queue, payload as never)).id);
      } catch {
        this.failures += 1;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
