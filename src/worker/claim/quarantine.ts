import type { EventHub } from '../../core/events.js';
import type { ClaimedRow } from '../../db/calls/claim.js';
import type { LeaseCalls } from '../../db/calls/leases.js';
import type { Executor } from '../../db/executor.js';
import type { LeaseKeeper } from '../lease/keeper.js';
import type { Runner } from '../run/runner.js';
import { isQuiet, type QuietParts, whenQuiet } from './quiet.js';

/** After so many crashes of its worker a process of its own has not helped: then nothing else begins beside it. */
const APART_MAX = 3;
/** A bound doubles so often at most. */
const DOUBLINGS_MAX = 10;
/** Between two tries to say that a suspect is not alone any more. */
const RETRY_MS = 1_000;

/** What a quarantine is made of. */
interface QuarantineParts extends QuietParts {
  readonly leases: LeaseCalls;
  readonly line: Executor;
  readonly keeper: LeaseKeeper;
  readonly hub: EventHub;
  /** How long everything else may wait for a suspect that has crashed once: before it begins, and again while it runs. */
  readonly waitMs: number;
}

/**
 * Runs suspects: jobs whose worker died when it held them last, so that the next death harms nobody.
 *
 *   apart     in a process of their own, where the handler is in a file: nobody waits
 *   waiting   for what runs to end and be settled; the database knows that the suspects have not begun
 *   alone     nothing else of this process runs beside them
 *   company   others have waited long enough, and go on or begin beside them; the database knows it, so
 *             that nobody is buried who was not alone
 *
 * Nothing is claimed while they wait, or are alone. How long that is doubles with each crash: who kills its
 * worker late is alone for long enough in the end.
 */
export class Quarantine {
  readonly #parts: QuarantineParts;
  #isBusy = false;
  /** Suspects of which the database knows that they are not alone. */
  #company: readonly string[] = [];

  constructor(parts: QuarantineParts) {
    this.#parts = parts;
  }

  /** Suspects wait, or run alone: nothing may be claimed. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /**
   * Resolves when other jobs may be claimed: these have ended, or others have waited long enough.
   * @param stop gives them back if they have not begun, and waits no longer if they have
   */
  async run(runner: Runner, rows: ClaimedRow[], leaseId: string, stop: AbortSignal): Promise<void> {
    const crashes = Math.max(...rows.map(crashesOf));
    const ids = rows.map(([id]) => id);
    if (runner.canRunApart && crashes < APART_MAX) {
      const isHeard = await this.#tell(leaseId, null, [...this.#running(), ...ids]);
      return this.#begin(runner, rows, leaseId, isHeard, false);
    }
    this.#isBusy = true;
    try {
      const boundMs = this.#parts.waitMs * 2 ** Math.min(Math.max(crashes - 1, 0), DOUBLINGS_MAX);
      const isAlone = await this.#clear(leaseId, ids, boundMs, stop);
      this.#begin(runner, rows, leaseId, isAlone !== undefined && !stop.aborted, isAlone === true);
      if (!isAlone || stop.aborted) return;
      await this.#quiet(boundMs, stop);
      if (!isQuiet(this.#parts)) await this.#admit(leaseId, ids, stop);
    } finally {
      this.#isBusy = false;
    }
  }

  #begin(
    runner: Runner,
    rows: ClaimedRow[],
    leaseId: string,
    mayBegin: boolean,
    isAlone: boolean,
  ): void {
    if (!mayBegin) {
      runner.release(rows, leaseId);
      return;
    }
    const { hub, keeper } = this.#parts;
    hub.emit('job.suspected', { queue: runner.name, ids: rows.map(([id]) => id), isAlone });
    runner.accept(rows, leaseId, keeper.id !== leaseId);
  }

  /**
   * Waits until nothing else runs, or others have waited long enough.
   * @returns whether they are alone; undefined: they may not begin, for the database has not heard of it
   */
  async #clear(
    leaseId: string,
    ids: readonly string[],
    boundMs: number,
    stop: AbortSignal,
  ): Promise<boolean | undefined> {
    if (isQuiet(this.#parts) && this.#company.length === 0) return true;
    await this.#tell(leaseId, ids, this.#running());
    await this.#quiet(boundMs, stop);
    const isAlone = isQuiet(this.#parts);
    const isHeard = await this.#tell(leaseId, null, isAlone ? [] : [...this.#running(), ...ids]);
    return isHeard ? isAlone : undefined;
  }

  /** Others may begin as soon as the database knows that these are not alone. */
  async #admit(leaseId: string, ids: readonly string[], stop: AbortSignal): Promise<void> {
    const { keeper, clock } = this.#parts;
    while (!stop.aborted && keeper.id === leaseId && !isQuiet(this.#parts)) {
      if (await this.#tell(leaseId, null, [...this.#running(), ...ids])) return;
      await clock.sleep(RETRY_MS, stop);
    }
  }

  async #quiet(boundMs: number, stop: AbortSignal): Promise<void> {
    if (boundMs <= 0) return;
    const { clock } = this.#parts;
    const bound = new AbortController();
    const done = new AbortController();
    const end = (): void => bound.abort();
    void clock.sleep(boundMs, done.signal).then(end, end);
    try {
      await whenQuiet(this.#parts, AbortSignal.any([bound.signal, stop]));
    } finally {
      done.abort();
    }
  }

  /** Of those in company the ones that have not ended. */
  #running(): readonly string[] {
    const { runners, settler } = this.#parts;
    if (this.#company.length === 0) return [];
    const held = new Set([...runners.flatMap(({ jobIds }) => jobIds), ...settler.jobIds]);
    return this.#company.filter((id) => held.has(id));
  }

  /** @returns whether the database has heard it, and the lease lives */
  async #tell(
    leaseId: string,
    aside: readonly string[] | null,
    company: readonly string[],
  ): Promise<boolean> {
    const { leases, line } = this.#parts;
    const isHeard = await leases.setAside(line, leaseId, aside, company).catch(() => false);
    if (isHeard) this.#company = company;
    return isHeard;
  }
}

/** How often its worker has died with it. */
function crashesOf(row: ClaimedRow): number {
  return row[5]?.[6]?.filter(({ name }) => name === 'LeaseExpired').length ?? 0;
}
