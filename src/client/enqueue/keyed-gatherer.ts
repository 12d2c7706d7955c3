import type { Clock } from '../../core/clock.js';
import type { HowdahError } from '../../core/errors.js';
import { STATEMENT_CHARS_MAX } from '../../core/job/job-text.js';
import { Batcher, type Settled } from '../../core/time/batcher.js';
import { Turns } from '../../core/time/turns.js';
import type { Enqueued } from '../../db/calls/enqueue.js';
import { type HeldKind, heldKindOf, isHeld } from '../../db/patience.js';
import { BRIEF_LOCK_MS, type HeldCalls, LOCK_MS } from '../held-calls.js';
import { type PatientSendJobs, reportJobs } from './enqueue-each.js';
import type { GatherSettings } from './enqueue-options.js';

/** A call whose answer is out. */
interface Call {
  readonly text: string;
  readonly since: number;
}

/** A call that was held, or stands behind one. */
interface HeldCall extends Call {
  readonly resolve: (enqueued: Enqueued | Promise<Enqueued>) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls that wait for one key, in their order; the first is tried. */
interface Station {
  readonly keys: readonly string[];
  calls: HeldCall[];
}

/** What a {@link KeyedGatherer} is made with. */
interface KeyedGathererParts {
  readonly settings: GatherSettings;
  readonly charsMax: number;
  readonly clock: Clock;
  readonly held: HeldCalls;
  /** One statement that reports; it gives up a lock after some time, and had no effect then. */
  readonly send: PatientSendJobs;
  readonly refuse: (waiting: number) => HowdahError;
}

/**
 * As a gatherer, for jobs with a group, a dedupe key or a batch, which may be held by somebody's transaction.
 * A statement that meets one gives up and is parted until those that are held stand alone. For each key the first
 * is tried again and again, among all that are held (see {@link HeldCalls}); later ones of that key line up behind
 * it, and go when it has gone. All others go on.
 */
export class KeyedGatherer {
  readonly #parts: KeyedGathererParts;
  readonly #batcher: Batcher<Call, Enqueued>;
  readonly #stations = new Map<string, Station>();
  /** Statements are parted one after another. */
  readonly #parting = new Turns(1);
  /** Calls without an answer, and their text. */
  #open = 0;
  #openChars = 0;

  constructor(parts: KeyedGathererParts) {
    this.#parts = parts;
    const { settings } = parts;
    this.#batcher = new Batcher({
      itemsMax: settings.jobsMax,
      sizeMax: STATEMENT_CHARS_MAX,
      flushesMax: settings.statementsMax,
      // bounded here, with those that are held
      waitingMax: Number.POSITIVE_INFINITY,
      waitingSizeMax: Number.POSITIVE_INFINITY,
      refuse: parts.refuse,
      defer: setImmediate,
      flush: (calls) => this.#flush(calls),
    });
  }

  /** @param text of the job, as encoded by `encodeJob` */
  async add(text: string): Promise<Enqueued> {
    const { settings, charsMax, clock, refuse } = this.#parts;
    const most = settings.waitingMax + settings.jobsMax * settings.statementsMax;
    if (this.#open >= most || (this.#open > 0 && this.#openChars + text.length > charsMax)) {
      throw refuse(this.#open);
    }
    this.#open++;
    this.#openChars += text.length;
    try {
      return await this.#add({ text, since: clock.monotonic() });
    } finally {
      this.#open--;
      this.#openChars -= text.length;
    }
  }

  #add(call: Call): Promise<Enqueued> {
    const station = this.#stationOf(call);
    if (!station) return this.#batcher.add(call, call.text.length);
    return new Promise((resolve, reject) => station.calls.push({ ...call, resolve, reject }));
  }

  async #flush(calls: readonly Call[]): Promise<Settled<Enqueued | Promise<Enqueued>>[]> {
    const settled = await this.#report(calls, LOCK_MS);
    const held: HeldCall[] = [];
    const answers = settled.map((each, i) => {
      if (!('error' in each) || !isHeld(each.error)) return each;
      const call = calls[i] as Call;
      const value = new Promise<Enqueued>((resolve, reject) => {
        held.push({ ...call, resolve, reject });
      });
      return { value };
    });
    const errors = settled.filter(isOfHeld);
    if (held.length > 0) {
      this.#parting.run(() => this.#part(held, errors)).catch((error) => rejectAll(held, error));
    }
    return answers;
  }

  /** Of each call what became of it; never rejects. */
  async #report(calls: readonly Call[], lockMs: number): Promise<readonly Settled<Enqueued>[]> {
    const { send } = this.#parts;
    try {
      return await reportJobs(
        calls.map(({ text }) => text),
        { send: (jobs) => send(jobs, lockMs) },
      );
    } catch (error) {
      return calls.map(() => ({ error }));
    }
  }

  /** Of these one at least is held. @param failed says what was held */
  async #part(calls: readonly HeldCall[], failed: readonly Settled<Enqueued>[]): Promise<void> {
    const left = this.#lineUp(calls);
    if (left.length === 0) return;
    if (calls.length === 1) {
      const [first] = failed;
      this.#hold(left[0] as HeldCall, first && 'error' in first ? first.error : undefined);
      return;
    }
    const middle = (left.length + 1) >> 1;
    const stuck: [calls: readonly HeldCall[], failed: readonly Settled<Enqueued>[]][] = [];
    for (const half of [left.slice(0, middle), left.slice(middle)]) {
      // the other half may have told what is held
      const some = this.#lineUp(half);
      if (some.length === 0) continue;
      const settled = await this.#report(some, BRIEF_LOCK_MS);
      const held = some.filter((call, i) => !answer(call, settled[i]));
      if (held.length > 0) stuck.push([held, settled.filter(isOfHeld)]);
    }
    // those that are not held have gone first
    for (const [held, errors] of stuck) await this.#part(held, errors);
  }

  /** @returns those that do not stand behind others */
  #lineUp(calls: readonly HeldCall[]): readonly HeldCall[] {
    if (this.#stations.size === 0) return calls;
    return calls.filter((call) => {
      const station = this.#stationOf(call);
      station?.calls.push(call);
      return !station;
    });
  }

  #stationOf({ text }: Call): Station | undefined {
    if (this.#stations.size === 0) return undefined;
    for (const { key } of keysOf(text)) {
      const station = this.#stations.get(key);
      if (station) return station;
    }
    return undefined;
  }

  #hold(call: HeldCall, error: unknown): void {
    const kind = isHeld(error) ? heldKindOf(error) : undefined;
    const keys = keysOf(call.text);
    const known = keys.filter((each) => each.kind === kind);
    const station = { keys: (known[0] ? known : keys).map(({ key }) => key), calls: [call] };
    for (const key of station.keys) this.#stations.set(key, station);
    this.#wait(station).catch((error) => rejectAll(station.calls, error));
  }

  /** Tries the first until it gets through; then all behind it go together. */
  async #wait(station: Station): Promise<void> {
    const { held, send } = this.#parts;
    for (let first = station.calls[0]; first; first = station.calls[0]) {
      const { text, since } = first;
      try {
        const [settled] = await held.again(
          (ms) => reportJobs([text], { send: (jobs) => send(jobs, ms) }),
          since,
        );
        answer(first, settled);
        station.calls.shift();
        break;
      } catch (error) {
        if (!isHeld(error)) {
          first.reject(error);
          station.calls.shift();
          break;
        }
        // who came at the same moment has waited as long
        const isOver = (call: HeldCall) => call === first || held.isOver(call.since);
        for (const call of station.calls) if (isOver(call)) call.reject(error);
        station.calls = station.calls.filter((call) => !isOver(call));
      }
    }
    for (const key of station.keys) {
      if (this.#stations.get(key) === station) this.#stations.delete(key);
    }
    for (const call of station.calls) call.resolve(this.#add(call));
  }
}

/** @returns false: it was held, and has no answer yet */
function answer(call: HeldCall, settled: Settled<Enqueued> | undefined): boolean {
  if (settled && 'error' in settled && isHeld(settled.error)) return false;
  if (!settled) call.reject(new Error('a statement answered too little'));
  else if ('error' in settled) call.reject(settled.error);
  else call.resolve(settled.value);
  return true;
}

function isOfHeld(settled: Settled<Enqueued>): boolean {
  return 'error' in settled && isHeld(settled.error);
}

function rejectAll(calls: readonly HeldCall[], error: unknown): void {
  for (const call of calls) call.reject(error);
}

/** What a job may have to wait for. */
function keysOf(text: string): readonly { readonly kind: HeldKind; readonly key: string }[] {
  const { queue, group, dedupe, batch } = JSON.parse(text) as {
    readonly queue: string;
    readonly group?: string;
    readonly dedupe?: { readonly key: string };
    readonly batch?: string;
  };
  const keys: { kind: HeldKind; key: string }[] = [];
  if (dedupe) keys.push({ kind: 'dedupe', key: JSON.stringify(['dedupe', queue, dedupe.key]) });
  if (group) keys.push({ kind: 'group', key: JSON.stringify(['group', queue, group]) });
  if (batch) keys.push({ kind: 'batch', key: JSON.stringify(['batch', batch]) });
  return keys;
}
