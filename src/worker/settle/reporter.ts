import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { encodeLogLine } from '../../core/codec/log-line.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { type Fence, fenceOf } from '../../core/fence.js';
import { encodeJson } from '../../core/json.js';
import { writtenLength } from '../../core/written-length.js';
import type { ReportCalls } from '../../db/calls/reports.js';
import { toHowdahError } from '../../db/errors/pg-error.js';
import type { Executor } from '../../db/executor.js';
import type { Attempt } from './attempt.js';
import { placeOf } from './settle-encoding.js';

/** While nothing ends, reports of all jobs are written at most this often. */
const EVERY_MS = 120;
/** Largest progress in bytes of JSON. */
const PROGRESS_BYTES_MAX = 4_096;
/** Most lines of a job between two writes; more are counted and dropped, the oldest first. */
const LINES_MAX = 200;
/** Most jobs, and about the most text, in one statement. */
const JOBS_MAX = 500;
const CHARS_MAX = 1_048_576;
/** Tries of one statement while the database is away; then its reports are dropped. */
const TRIES_MAX = 3;
const RETRY_MS = 250;

/** What a reporter is made of. */
interface ReporterParts {
  readonly calls: ReportCalls;
  readonly pool: Executor;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly codecs?: Codecs | undefined;
}

/** What an attempt has said that is not written yet. */
interface Unwritten {
  progress: string | undefined;
  readonly lines: { readonly at: number; readonly encode: (agoMs: number) => string }[];
  dropped: number;
}

/**
 * Writes what handlers report, progress and log lines, of all jobs of the worker in one statement:
 *
 *   quiet → (something is reported) → due within 120 ms → writing → quiet, or due again
 *
 * An attempt that ends is settled when what it said last is written, which is tried at once. Only
 * the last progress counts. What cannot be written is dropped: a job never hangs by what it says.
 */
export class Reporter {
  readonly #parts: ReporterParts;
  readonly #unwritten = new Map<Attempt, Unwritten>();
  readonly #fence: Fence;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#fence = fenceOf(parts.clock, parts.hub);
  }

  /** @throws HowdahError HOWDAH_PAYLOAD_INVALID (no JSON), HOWDAH_REPORT_INVALID (too large), HOWDAH_CODEC_FAILED */
  progress(attempts: readonly Attempt[], value: unknown): void {
    const text = encodeJson(value, 'progress');
    const bytes = writtenLength(text, PROGRESS_BYTES_MAX);
    if (bytes > PROGRESS_BYTES_MAX) throw tooLarge(bytes);
    const { codecs } = this.#parts;
    for (const attempt of attempts) {
      const stored = codecs ? codecs.encode('progress', text, placeOf(attempt)) : text;
      if (codecs && Buffer.byteLength(stored) > PROGRESS_BYTES_MAX) {
        throw tooLarge(Buffer.byteLength(stored));
      }
      const unwritten = this.#of(attempt);
      if (unwritten) unwritten.progress = stored;
    }
  }

  /** Never throws. */
  line(attempt: Attempt, level: string, message: unknown, fields: unknown): void {
    const unwritten = this.#of(attempt);
    if (!unwritten) return;
    const { lines } = unwritten;
    const at = this.#parts.clock.monotonic();
    lines.push({ at, encode: encodeLogLine(level, message, fields, this.#sealOf(attempt)) });
    if (lines.length <= LINES_MAX) return;
    lines.shift();
    unwritten.dropped += 1;
  }

  /** Writes what these have said. Resolves when that is done, or given up. */
  async flush(attempts: readonly Attempt[]): Promise<void> {
    while (attempts.some((attempt) => attempt.isReporting) && !this.#isClosed) {
      await this.#write();
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const attempt of this.#unwritten.keys()) attempt.isReporting = false;
    this.#unwritten.clear();
  }

  #sealOf(attempt: Attempt): ((text: string) => string) | undefined {
    const { codecs } = this.#parts;
    return codecs && ((text) => codecs.encode('log', text, placeOf(attempt)));
  }

  /** Undefined: it has ended, and what it says is ignored. */
  #of(attempt: Attempt): Unwritten | undefined {
    if (attempt.settlement || this.#isClosed) {
      this.#ignored(attempt);
      return undefined;
    }
    const known = this.#unwritten.get(attempt);
    if (known) return known;
    const made: Unwritten = { progress: undefined, lines: [], dropped: 0 };
    this.#unwritten.set(attempt, made);
    attempt.isReporting = true;
    this.#writeSoon();
    return made;
  }

  #writeSoon(): void {
    if (this.#timer !== undefined || this.#writing) return;
    const dueMs = this.#writtenAt + EVERY_MS - this.#parts.clock.monotonic();
    this.#timer = setTimeout(
      () => void this.#fence.follow('report', () => this.#write()),
      Math.max(dueMs, 0),
    );
  }

  #write(): Promise<void> {
    this.#writing ??= this.#writeNow().finally(() => {
      this.#writing = undefined;
      if (this.#unwritten.size === 0 || this.#isClosed) return;
      this.#fence.call('report', () => this.#writeSoon());
    });
    return this.#writing;
  }

  async #writeNow(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writtenAt = this.#parts.clock.monotonic();
    const taken = [...this.#unwritten].slice(0, JOBS_MAX);
    for (const [attempt] of taken) this.#unwritten.delete(attempt);
    // never rejects: who waits for this settles then, and what it could not write is dropped
    await this.#fence.follow('report', async () => {
      for (const batch of batchesOf(taken, this.#writtenAt)) await this.#send(batch);
    });
    for (const [attempt] of taken) attempt.isReporting = this.#unwritten.has(attempt);
  }

  async #send({ attempts, leaseId, text }: Batch): Promise<void> {
    const { calls, pool, clock, hub } = this.#parts;
    for (let tries = 1; !this.#isClosed; tries += 1) {
      try {
        const stale = await calls.report(pool, leaseId, text);
        for (const id of stale) {
          const attempt = attempts.find((each) => each.id === id);
          if (attempt && !attempt.isCompletedIn) this.#ignored(attempt);
        }
        return;
      } catch (thrown) {
        const error = toHowdahError(thrown);
        if (tries >= TRIES_MAX || !error.isRetryable) {
          hub.emit('report.failed', { jobs: attempts.length, error });
          return;
        }
      }
      await clock.sleep(RETRY_MS);
    }
  }

  #ignored(attempt: Attempt): void {
    if (attempt.isReportIgnored) return;
    attempt.isReportIgnored = true;
    const error = new HowdahError(
      'HOWDAH_SETTLE_STALE',
      `Job ${attempt.id} is no longer this attempt's: what it reports is ignored.`,
      { details: { id: attempt.id }, remedy: 'Stop when context.signal aborts.' },
    );
    this.#parts.hub.emit('job.report-ignored', { job: attempt.ref, error });
  }
}

/** Reports of one lease that fit into one statement. */
interface Batch {
  readonly leaseId: string;
  readonly attempts: Attempt[];
  text: string;
}

function batchesOf(taken: readonly (readonly [Attempt, Unwritten])[], now: number): Batch[] {
  const batches: Batch[] = [];
  for (const [attempt, said] of taken) {
    const report = encode(attempt, said, now);
    const last = batches.at(-1);
    if (last?.leaseId === attempt.leaseId && last.text.length + report.length < CHARS_MAX) {
      last.attempts.push(attempt);
      last.text += `,${report}`;
    } else batches.push({ leaseId: attempt.leaseId, attempts: [attempt], text: `[${report}` });
  }
  for (const batch of batches) batch.text += ']';
  return batches;
}

function encode(attempt: Attempt, { progress, lines, dropped }: Unwritten, now: number): string {
  let text = `{"id":"${attempt.id}","attempt":${attempt.claims}`;
  if (progress !== undefined) text += `,"progress":${progress}`;
  if (lines.length > 0) text += `,"lines":[${lines.map((line) => line.encode(now - line.at))}]`;
  if (dropped > 0) text += `,"dropped":${dropped}`;
  return `${text}}`;
}

function tooLarge(bytes: number): HowdahError {
  return new HowdahError(
    'HOWDAH_REPORT_INVALID',
    `Progress has ${bytes} bytes of JSON, ${PROGRESS_BYTES_MAX} are allowed.`,
    { details: { bytes, max: PROGRESS_BYTES_MAX }, remedy: 'Store it elsewhere.' },
  );
}
