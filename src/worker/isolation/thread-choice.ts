import type { Piscina } from 'piscina';

type Choose = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']>;

/** The export of `thread.ts` that loads the handler file. */
export const LOAD = 'load';

/**
 * Which thread gets a task. Each loads the handler file once, before its first job: a job that went to
 * a thread that still starts would lose the time that this takes.
 */
export class ThreadChoice {
  readonly #asked = new Set<number>();
  readonly #mayHurry: () => boolean;

  /** @param mayHurry whether a job may go to a thread that was not asked to load: one ended between two jobs */
  constructor(mayHurry: () => boolean) {
    this.#mayHurry = mayHurry;
  }

  readonly choose: Choose = ({ name }, threads) => {
    const idle = threads.filter((each) => each.currentUsage === 0 && !each.destroyed);
    const fresh = idle.find(({ id }) => !this.#asked.has(id));
    const found =
      name === LOAD
        ? fresh
        : (idle.find(({ id }) => this.#asked.has(id)) ?? (this.#mayHurry() ? fresh : undefined));
    if (found) this.#asked.add(found.id);
    return found ?? null;
  };
}
