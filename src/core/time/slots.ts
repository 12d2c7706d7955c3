/** Bounded concurrency: how many may run, how many do. Belongs to one event loop. */
export class Slots {
  readonly size: number;
  #used = 0;
  #idle: (() => void)[] = [];

  constructor(size: number) {
    this.size = size;
  }

  get used(): number {
    return this.#used;
  }

  get free(): number {
    return this.#used < this.size ? this.size - this.#used : 0;
  }

  /** Occupies a slot. Returns false, and occupies none, when all are taken. */
  take(): boolean {
    if (this.#used >= this.size) return false;
    this.#used++;
    return true;
  }

  give(): void {
    this.#used--;
    if (this.#used === 0 && this.#idle.length > 0) {
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Resolves when no slot is occupied. */
  async whenIdle(): Promise<void> {
    while (this.#used > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
