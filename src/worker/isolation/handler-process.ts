import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { HandlerFile } from '../handler/handler-file.js';
import type { JobContext } from '../handler/job-context.js';
import { crashed, followAbort, LOAD_MS, relay, uncloneable } from './handler-pool.js';
import { invalid } from './load-handler.js';
import type { EndMessage, LoadAnswer, ProcessMessage, RunAnswer } from './messages.js';

/** How much of what it wrote last is looked at when a process has ended. */
const TAIL_CHARS = 4_096;
/** What an idle process gets to end by itself. */
const CLOSE_MS = 500;

interface Running {
  readonly context: JobContext;
  readonly resolve: (answer: RunAnswer) => void;
  readonly reject: (error: HowdahError) => void;
}

/** One child process that runs one job at a time: loading → idle ⇄ busy → ended. */
export class HandlerProcess {
  /** Resolves when the file is loaded. Rejects with HOWDAH_HANDLER_INVALID; the process ends then. */
  readonly loaded: Promise<void>;
  /** Resolves when it has ended; never rejects. */
  readonly ended: Promise<void>;
  isEnded = false;
  isLoaded = false;
  readonly #file: HandlerFile;
  readonly #onEnd: () => void;
  readonly #child: ChildProcess;
  #running: Running | undefined;
  #onLoaded: (answer: LoadAnswer) => void = () => {};
  #stderrTail = '';

  /** @param onEnd is called when it has ended, before the job that it ran fails */
  constructor(file: HandlerFile, onEnd: () => void) {
    this.#file = file;
    this.#onEnd = onEnd;
    this.#child = fork(fileURLToPath(new URL('./process.js', import.meta.url)), [file.file], {
      serialization: 'advanced',
      execArgv: execArgvOf(file.memoryMb),
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      process.stderr.write(chunk);
      this.#stderrTail = (this.#stderrTail + chunk.toString()).slice(-TAIL_CHARS);
    });
    this.#child.on('message', (message: ProcessMessage) => this.#hear(message));
    this.loaded = this.#load();
    this.loaded.catch(() => this.kill());
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#end(how);
        resolve();
      };
      this.#child.once('error', (error) => end(`could not be started: ${error.message}`));
      // not 'exit': what it wrote to standard error must have come
      this.#child.once('close', (code, signal) => end(this.#describeEnd(code, signal)));
    });
  }

  /** @throws HowdahError HOWDAH_HANDLER_CRASHED, HOWDAH_HANDLER_INVALID; the reason of the signal */
  async run(job: Job, context: JobContext): Promise<RunAnswer> {
    const { signal } = context;
    const forget = followAbort(
      signal,
      (message) => this.#child.connected && this.#child.send(message),
      () => this.kill(),
    );
    try {
      return await new Promise((resolve, reject) => {
        this.#running = { context, resolve, reject };
        this.#send(job);
      });
    } catch (error) {
      throw signal.aborted && isCrash(error) ? signal.reason : error;
    } finally {
      this.#running = undefined;
      forget();
    }
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Lets an idle process end by itself, a busy one not. */
  async close(): Promise<void> {
    if (this.#running) this.kill();
    // not disconnect(): after that Node never reports 'close'
    else if (this.#child.connected) this.#child.send({ type: 'end' } satisfies EndMessage);
    const timer = setTimeout(() => this.kill(), CLOSE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  async #load(): Promise<void> {
    const { file } = this.#file;
    let timer: NodeJS.Timeout | undefined;
    const answer = await new Promise<LoadAnswer>((resolve) => {
      this.#onLoaded = resolve;
      const problem = invalid(file, `has not loaded within ${LOAD_MS / 1_000} s`, '').message;
      timer = setTimeout(() => resolve({ problem: problem.trimEnd() }), LOAD_MS);
    });
    clearTimeout(timer);
    this.isLoaded = answer.problem === undefined;
    if (this.isLoaded) return;
    throw new HowdahError('HOWDAH_HANDLER_INVALID', answer.problem ?? '', {
      details: { file: fileURLToPath(file) },
      remedy: answer.remedy ?? 'It must load without ending its process, and soon.',
    });
  }

  #send(job: Job): void {
    try {
      this.#child.send({ type: 'run', job }, (error) => {
        if (error) this.#running?.reject(crashed('process', 'could not be reached', {}, error));
      });
    } catch (error) {
      this.#running?.reject(
        uncloneable('process', error) ?? crashed('process', 'could not be reached', {}, error),
      );
    }
  }

  /** Of a handler that sends something by itself it may be anything. */
  #hear(message: ProcessMessage | null | undefined): void {
    if (message?.type === 'loaded') this.#onLoaded(message.answer ?? {});
    else if (message?.type === 'answer') this.#running?.resolve(message.answer);
    else if (message && this.#running) relay(this.#running.context, message);
  }

  #end(how: string): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#onEnd();
    const { memoryMb, file } = this.#file;
    const isMemory = this.#stderrTail.includes('heap out of memory');
    this.#onLoaded({ problem: invalid(file, `${how} while it was loaded`, '').message.trimEnd() });
    this.#running?.reject(crashed('process', how, { isMemory, memoryMb }));
  }

  #describeEnd(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#stderrTail.includes('heap out of memory')) {
      const { memoryMb } = this.#file;
      return `ran out of memory${memoryMb === undefined ? '' : ` (memoryMb is ${memoryMb})`}`;
    }
    return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
  }
}

function isCrash(error: unknown): boolean {
  return error instanceof HowdahError && error.code === 'HOWDAH_HANDLER_CRASHED';
}

/** Flags of this process that its children share: loaders, warnings; not its debugger or its script. */
function execArgvOf(memoryMb: number | undefined): string[] {
  const argv: string[] = [];
  for (let i = 0; i < process.execArgv.length; i++) {
    const flag = process.execArgv[i] ?? '';
    if (/^(-e|--eval|-p|--print|-pe)$/.test(flag)) i += 1;
    else if (!/^(--inspect|--max-old-space-size|--input-type|-i$)/.test(flag)) argv.push(flag);
  }
  return memoryMb === undefined ? argv : [...argv, `--max-old-space-size=${memoryMb}`];
}
