import { HowdahError } from '../../core/errors.js';
import { encodeJson, type Json } from '../../core/json.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { LogFields, Logger, LogLevel } from '../../telemetry/logger.js';
import type { JobContext } from '../handler/job-context.js';
import type { AbortMessage, SaidMessage } from './messages.js';

/** The way from a handler in a thread or process to its worker. */
interface Link {
  post(message: SaidMessage): void;
  /** A message that the event loop has not brought yet, where that can be found out. */
  poll?(): AbortMessage | undefined;
}

/** What a handler can do in a thread or process. */
export class IsolatedContext implements JobContext {
  readonly log: Logger;
  /** Whether the handler has looked at its signal. */
  isSignalUsed = false;
  readonly #link: Link;
  readonly #controller = new AbortController();

  constructor(link: Link) {
    this.#link = link;
    const at =
      (level: LogLevel) =>
      (message: string, fields?: LogFields): void =>
        this.#post(level, message, fields);
    this.log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }

  /** In a thread each look at it also learns of an abort that a blocked event loop could not bring. */
  get signal(): AbortSignal {
    this.isSignalUsed = true;
    const message = this.#link.poll?.();
    if (message) this.abort(message);
    return this.#controller.signal;
  }

  abort({ code, message }: AbortMessage): void {
    this.#controller.abort(new HowdahError(code, message));
  }

  get progress(): (value: Json) => void {
    return (value) => this.#link.post({ type: 'progress', text: encodeJson(value, 'progress') });
  }

  completeIn(_tx: TxHandle, _result?: Json): Promise<void> {
    const remedy = 'Return the result, or use a handler that is a function of the worker.';
    return Promise.reject(
      new HowdahError(
        'HOWDAH_TRANSACTION_INVALID',
        'completeIn does not reach from a handler file to its worker.',
        { remedy },
      ),
    );
  }

  #post(level: LogLevel, message: string, fields: LogFields | undefined): void {
    try {
      this.#link.post({ type: 'log', level, message: String(message), fields });
    } catch {
      // fields that cannot be copied, a function for instance
      this.#link.post({ type: 'log', level, message, fields: { fields: 'not serialisable' } });
    }
  }
}
