import type { HowdahErrorCode } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { LogFields, LogLevel } from '../../telemetry/logger.js';
import type { Decision } from '../settle/decide.js';

/** Whether the handler file can be used. */
export interface LoadAnswer {
  /** Why it cannot; undefined: it can. */
  readonly problem?: string;
  readonly remedy?: string;
}

/** How a call of the handler ended. The decision does not know of time-outs, cancels and shutdowns. */
export interface RunAnswer {
  readonly decision: Decision;
  readonly isThrown: boolean;
  /** Whether the handler has looked at its signal. */
  readonly isSignalUsed: boolean;
}

/** To whoever runs a handler: its signal aborts. */
export interface AbortMessage {
  readonly type: 'abort';
  readonly code: HowdahErrorCode;
  readonly message: string;
}

/** From a handler: a line for the log. */
interface LogMessage {
  readonly type: 'log';
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** From a handler: its progress, as JSON. */
interface ProgressMessage {
  readonly type: 'progress';
  readonly text: string;
}

/** What a handler says while it runs. */
export type SaidMessage = LogMessage | ProgressMessage;

/** What a process is told besides. */
export interface RunMessage {
  readonly type: 'run';
  readonly job: Job;
}

/** Told to an idle process: nothing comes any more. */
export interface EndMessage {
  readonly type: 'end';
}

/** What a process says besides. */
export type ProcessMessage =
  | SaidMessage
  | { readonly type: 'loaded'; readonly answer: LoadAnswer }
  | { readonly type: 'answer'; readonly answer: RunAnswer };
