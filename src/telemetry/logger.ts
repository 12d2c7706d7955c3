import { escapeControls } from '../core/control-characters.js';

/** Facts beside a message: anything JSON can carry; an Error is written as its message and stack. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where Howdah and handlers write. `console`-like loggers such as pino fit behind a small adapter. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export type LogLevel = (typeof LEVELS)[number];

/** What {@link jsonLogger} can be told. */
export interface JsonLoggerOptions {
  /** Least level that is written. Default `info`. */
  readonly level?: LogLevel | 'silent';
  /** Receives each line, with its newline. Default: standard error. */
  readonly write?: (line: string) => void;
  /** Default: the system clock. */
  readonly now?: () => Date;
}

const silent = (): void => {};

/** A logger that drops everything. */
export const silentLogger: Logger = { debug: silent, info: silent, warn: silent, error: silent };

/** A logger that writes one JSON object a line: `{"at", "level", "message", ...fields}`. */
export function jsonLogger(options: JsonLoggerOptions = {}): Logger {
  const {
    level = 'info',
    write = (line) => void process.stderr.write(line),
    now = () => new Date(),
  } = options;
  const least = level === 'silent' ? LEVELS.length : LEVELS.indexOf(level);
  const at =
    (line: LogLevel) =>
    (message: string, fields?: LogFields): void => {
      if (LEVELS.indexOf(line) < least) return;
      write(`${encodeLine({ at: now().toISOString(), level: line, message, ...fields })}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/**
 * A logger that adds fields to everything that is written through it, and never throws.
 * @param also gets what is written, without these fields
 */
export function withFields(
  logger: Logger,
  fields: LogFields,
  also?: (level: LogLevel, message: string, fields?: LogFields) => void,
): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, more?: LogFields): void => {
      also?.(level, message, more);
      try {
        const returned: unknown = logger[level](message, more ? { ...fields, ...more } : fields);
        if (returned instanceof Promise) returned.catch(() => undefined);
      } catch {
        // a logger that fails must not fail the job
      }
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function encodeLine(line: LogFields): string {
  try {
    return escapeControls(JSON.stringify(line, encodeValue));
  } catch {
    const { at, level, message } = line;
    return escapeControls(JSON.stringify({ at, level, message, fields: 'not serialisable' }));
  }
}

function encodeValue(_key: string, value: unknown): unknown {
  if (value instanceof Error) {
    const { name, message, stack } = value;
    return { name, message, stack };
  }
  return typeof value === 'bigint' ? value.toString() : value;
}
