import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import { textOf } from '../../core/shown-text.js';
import { whenAborted } from '../../core/time/abort.js';
import type { JobContext } from '../handler/job-context.js';
import type { AbortMessage, RunAnswer, SaidMessage } from './messages.js';

/** How long loading a handler file may take. */
export const LOAD_MS = 30_000;
/** What a handler gets to stop after its signal, less than `open-runs.ts` gives it a slot for. */
const STOP_GRACE_MS = 500;

/** Threads or processes that run the handler of one queue. */
export interface HandlerPool {
  /** How many have ended and are being replaced: no job should begin for them yet. */
  readonly starting: number;
  /** Starts them all and loads the file in each. @throws HowdahError HOWDAH_HANDLER_INVALID */
  open(): Promise<void>;
  /**
   * Runs a job, and ends the code that runs it when the context's signal aborts: at a time-out at
   * once, else half a second later. Rejects with the reason then.
   * @throws HowdahError HOWDAH_HANDLER_CRASHED, HOWDAH_HANDLER_INVALID (cannot be copied, cannot be loaded)
   */
  run(job: Job, context: JobContext): Promise<RunAnswer>;
  /** The same in a process that runs nothing else: whatever the job does, it cannot end the worker. */
  runApart(job: Job, context: JobContext): Promise<RunAnswer>;
  /** Ends them all, whatever they do. */
  close(): Promise<void>;
}

/**
 * Passes an abort on, and makes sure of it.
 * @param tell the handler; @param kill what runs it
 * @returns a function for when the handler has answered
 */
export function followAbort(
  signal: AbortSignal,
  tell: (message: AbortMessage) => void,
  kill: () => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    const { code, message } = signal.reason as HowdahError;
    if (code === 'HOWDAH_JOB_TIMEOUT') kill();
    else {
      tell({ type: 'abort', code, message });
      timer = setTimeout(kill, STOP_GRACE_MS);
    }
  };
  const forget = whenAborted(signal, onAbort);
  if (signal.aborted) onAbort();
  return () => {
    clearTimeout(timer);
    forget();
  };
}

/**
 * Writes what a handler says; what is refused is told to the log, for its handler is far away. In a process
 * a handler can send anything, which is ignored. Never throws.
 */
export function relay(context: JobContext, said: SaidMessage): void {
  try {
    if (said.type === 'log') context.log[said.level](said.message, said.fields);
    else if (said.type === 'progress') context.progress(JSON.parse(said.text));
  } catch (error) {
    context.log.warn(`what the handler said is not kept: ${textOf(error)}`);
  }
}

/** @param how completes "The thread that ran the handler ..." */
export function crashed(
  kind: 'thread' | 'process',
  how: string,
  details: Readonly<Record<string, unknown>>,
  cause?: unknown,
): HowdahError {
  return new HowdahError('HOWDAH_HANDLER_CRASHED', `The ${kind} that ran the handler ${how}.`, {
    details,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The error of a job that structured cloning refuses: a schema made functions of its payload. */
export function uncloneable(kind: 'thread' | 'process', error: unknown): HowdahError | undefined {
  // between processes it is a plain Error
  if (!(error instanceof Error) || !error.message.includes('could not be cloned')) return undefined;
  return new HowdahError(
    'HOWDAH_HANDLER_INVALID',
    `The payload cannot be handed to a ${kind}: ${error.message}`,
    { cause: error, remedy: 'Let the schema return plain data.' },
  );
}
