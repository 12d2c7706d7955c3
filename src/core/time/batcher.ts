/** What became of one item: its result, or its own error. */
export type Settled<Result> = { readonly value: Result } | { readonly error: unknown };

/** Bounds of a {@link Batcher} and what it calls. */
export interface BatcherOptions<Item, Result> {
  /**
   * Sends a batch and answers item by item, in order; what a promise will answer keeps no place. A rejection
   * becomes every item's error.
   */
  readonly flush: (items: readonly Item[]) => Promise<readonly Settled<Result | Promise<Result>>[]>;
  /** Most items in a batch. */
  readonly itemsMax: number;
  /** Most size in a batch; an item that is larger goes alone. */
  readonly sizeMax: number;
  /** Most batches under way at once. */
  readonly flushesMax: number;
  /** Most items waiting for a batch. */
  readonly waitingMax: number;
  /** Most size waiting for a batch. */
  readonly waitingSizeMax: number;
  /** Makes the error of an item that finds the waiting room full. */
  readonly refuse: (waiting: number) => Error;
  /** Runs a function soon, after calls of the same moment have come in. */
  readonly defer: (run: () => void) => void;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly size: number;
  readonly resolve: (result: Result | Promise<Result>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers single items into batches without timers: an item that finds a free place goes at once,
 * with those of the same moment; the others wait until a batch under way comes back. Each caller
 * gets its own result. The waiting room is bounded: an item that finds it full is refused.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  /** How many of `#waiting` have left already; saves moving the rest with each batch. */
  #taken = 0;
  #waitingSize = 0;
  #flushes = 0;
  #isDeferred = false;
  #onIdle: (() => void)[] = [];

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** @param size in the unit of `sizeMax`: characters, for instance */
  add(item: Item, size: number): Promise<Result> {
    const { waitingMax, waitingSizeMax, refuse } = this.#options;
    const waiting = this.#waiting.length - this.#taken;
    if (waiting >= waitingMax || (waiting > 0 && this.#waitingSize + size > waitingSizeMax)) {
      return Promise.reject(refuse(waiting));
    }
    this.#waitingSize += size;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, size, resolve, reject });
      this.#deferPump();
    });
  }

  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  get #isIdle(): boolean {
    return this.#flushes === 0 && this.#waiting.length === this.#taken;
  }

  #deferPump(): void {
    if (this.#isDeferred || this.#flushes >= this.#options.flushesMax) return;
    this.#isDeferred = true;
    this.#options.defer(() => {
      this.#isDeferred = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#flushes < this.#options.flushesMax && this.#waiting.length > this.#taken) {
      void this.#flush(this.#take());
    }
  }

  #take(): Waiting<Item, Result>[] {
    const { itemsMax, sizeMax } = this.#options;
    const start = this.#taken;
    let end = start;
    let size = 0;
    for (; end < this.#waiting.length && end - start < itemsMax; end++) {
      const next = (this.#waiting[end] as Waiting<Item, Result>).size;
      if (end > start && size + next > sizeMax) break;
      size += next;
    }
    const batch = this.#waiting.slice(start, end);
    this.#waitingSize -= size;
    this.#taken = end;
    if (end === this.#waiting.length) {
      this.#waiting = [];
      this.#taken = 0;
    } else if (end > 4096 && end > this.#waiting.length / 2) {
      this.#waiting = this.#waiting.slice(end);
      this.#taken = 0;
    }
    return batch;
  }

  /** Never rejects: every outcome goes to the callers. */
  async #flush(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#flushes++;
    try {
      const results = await this.#options.flush(batch.map((entry) => entry.item));
      batch.forEach((entry, i) => {
        const settled = results[i];
        if (!settled)
          entry.reject(new Error(`the batch answered ${results.length} of ${batch.length} items`));
        else if ('error' in settled) entry.reject(settled.error);
        else entry.resolve(settled.value);
      });
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    }
    this.#flushes--;
    if (this.#waiting.length > this.#taken) this.#deferPump();
    else if (this.#isIdle) this.#notifyIdle();
  }

  #notifyIdle(): void {
    const listeners = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of listeners) resolve();
  }
}
