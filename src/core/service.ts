/** `new` → `running` → `stopping` → `stopped`; a start that fails goes to `stopped` as well. */
type ServiceState = 'new' | 'running' | 'stopping' | 'stopped';

/**
 * Life of everything that runs for long: started once, stopped once, and both calls may be repeated.
 * Subclasses say what starting and stopping means.
 */
export abstract class Service {
  /** Resolves when the service has stopped, however that came about; never rejects. */
  readonly stopped: Promise<void>;
  #resolveStopped!: () => void;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #state: ServiceState = 'new';

  constructor() {
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }

  get state(): ServiceState {
    return this.#state;
  }

  /** Resolves when the service runs. A second call returns the promise of the first. */
  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  /** Resolves when everything has stopped. A second call returns the promise of the first. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** What starting means. When it throws it must have cleaned up after itself. */
  protected abstract onStart(): Promise<void>;

  /** What stopping means. Called once, after a start that succeeded. */
  protected abstract onStop(): Promise<void>;

  async #start(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'running';
    try {
      await this.onStart();
    } catch (error) {
      this.#finish();
      throw error;
    }
  }

  async #stop(): Promise<void> {
    try {
      // A service stopped while it starts is stopped after that.
      await this.#starting?.catch(() => undefined);
      if (this.#state !== 'running') return;
      this.#state = 'stopping';
      await this.onStop();
    } finally {
      this.#finish();
    }
  }

  #finish(): void {
    this.#state = 'stopped';
    this.#resolveStopped();
  }
}
