import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { snapshotError } from '../../core/codec/error-snapshot.js';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { HandlerFile } from '../handler/handler-file.js';
import type { JobContext } from '../handler/job-context.js';
import {
  crashed,
  followAbort,
  type HandlerPool,
  LOAD_MS,
  relay,
  uncloneable,
} from './handler-pool.js';
import { invalid } from './load-handler.js';
import type { LoadAnswer, RunAnswer, SaidMessage } from './messages.js';
import { SpareProcesses } from './spare-processes.js';
import { LOAD, ThreadChoice } from './thread-choice.js';

/** Worker threads, one job each at a time. One that ends is replaced. */
export class ThreadPool implements HandlerPool {
  starting = 0;
  readonly #file: HandlerFile;
  readonly #onReady: () => void;
  readonly #choice = new ThreadChoice(() => this.starting === 0);
  #pool: Piscina | undefined;
  readonly #spare: SpareProcesses;

  /** @param onReady a thread has been replaced */
  constructor(file: HandlerFile, onReady: () => void) {
    this.#file = file;
    this.#onReady = onReady;
    this.#spare = new SpareProcesses(file);
  }

  async open(): Promise<void> {
    const { file, size, memoryMb } = this.#file;
    const { Piscina } = await import('piscina'); // late: most workers have no handler files
    const pool = new Piscina({
      filename: new URL('./thread.js', import.meta.url).href,
      minThreads: size,
      maxThreads: size,
      concurrentTasksPerWorker: 1,
      recordTiming: false,
      // what a handler leaves behind may go on between two jobs
      atomics: 'disabled',
      loadBalancer: this.#choice.choose,
      workerData: { file },
      ...(memoryMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: memoryMb } }),
    });
    // a thread that ends between two jobs has been replaced already
    pool.on('error', () => undefined);
    this.#pool = pool;
    try {
      await this.#load(pool);
      await Promise.all(Array.from({ length: size - 1 }, () => this.#load(pool)));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async run(job: Job, context: JobContext): Promise<RunAnswer> {
    const { port1, port2 } = new MessageChannel();
    const killing = new AbortController();
    const forget = followAbort(
      context.signal,
      (message) => port1.postMessage(message),
      () => killing.abort(),
    );
    port1.on('message', (message: SaidMessage) => relay(context, message));
    try {
      return (await this.#pool?.run(
        { job, port: port2 },
        { signal: killing.signal, transferList: [port2] },
      )) as RunAnswer;
    } catch (error) {
      const refused = uncloneable('thread', error);
      if (refused) throw refused;
      this.#awaitReplacement();
      throw killing.signal.aborted ? context.signal.reason : this.#describe(error);
    } finally {
      forget();
      drain(port1, context);
    }
  }

  runApart(job: Job, context: JobContext): Promise<RunAnswer> {
    return this.#spare.run(job, context);
  }

  async close(): Promise<void> {
    await Promise.all([this.#pool?.destroy(), this.#spare.close()]);
  }

  async #load(pool: Piscina): Promise<void> {
    const { file } = this.#file;
    const remedy = 'It must load without ending its thread, and soon.';
    let answer: LoadAnswer;
    try {
      answer = (await pool.run(
        {},
        { name: LOAD, signal: AbortSignal.timeout(LOAD_MS) },
      )) as LoadAnswer;
    } catch (error) {
      const { name, message } = snapshotError(error, { stack: false });
      const isLate = name === 'AbortError';
      const problem = isLate ? `has not loaded within ${LOAD_MS / 1_000} s` : endOf(message);
      throw invalid(file, isLate ? problem : `${problem} while it was loaded`, remedy, error);
    }
    if (answer.problem === undefined) return;
    throw new HowdahError('HOWDAH_HANDLER_INVALID', answer.problem, {
      details: { file },
      ...(answer.remedy === undefined ? {} : { remedy: answer.remedy }),
    });
  }

  /** Piscina starts another by itself; a file that does not load any more fails the next job. */
  #awaitReplacement(): void {
    if (!this.#pool) return;
    const ready = (): void => {
      this.starting -= 1;
      this.#onReady();
    };
    this.starting += 1;
    this.#load(this.#pool).then(ready, ready);
  }

  #describe(error: unknown): HowdahError {
    const { code, message } = snapshotError(error, { stack: false });
    const { memoryMb } = this.#file;
    if (code === 'ERR_WORKER_OUT_OF_MEMORY') {
      const limit = memoryMb === undefined ? '' : ` (memoryMb is ${memoryMb})`;
      return crashed('thread', `ran out of memory${limit}`, { isMemory: true, memoryMb }, error);
    }
    return crashed('thread', endOf(message), { isMemory: false }, error);
  }
}

/** What piscina says of a thread that ended: it exited, or the error that nobody caught in it. */
function endOf(message: string): string {
  const exit = /^worker exited with code: (\d+)$/.exec(message);
  return exit ? `exited with code ${exit[1]}` : `ended by an error that nobody caught: ${message}`;
}

/** What the handler logged last may lie there yet. */
function drain(port: MessagePort, context: JobContext): void {
  for (;;) {
    const entry = receiveMessageOnPort(port);
    if (!entry) break;
    relay(context, entry.message as SaidMessage);
  }
  port.close();
}
