import type { LogFields, Logger, LogLevel } from '../../telemetry/logger.js';
import { visible } from '../terminal-text.js';

const LEVELS: readonly (LogLevel | 'silent')[] = ['debug', 'info', 'warn', 'error', 'silent'];

/** A logger for people: `10:03:12 warn job.dead job=4711 ...` */
export function textLogger(level: LogLevel | 'silent', write: (line: string) => void): Logger {
  const at =
    (line: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (LEVELS.indexOf(line) < LEVELS.indexOf(level)) return;
      const time = new Date().toTimeString().slice(0, 8);
      const facts = Object.entries(fields).map(([key, value]) => `${key}=${show(value)}`);
      write(visible([time, line, message, ...facts].join(' ')));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function show(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== 'object' || value === null) return String(value);
  // a job or the snapshot of an error: their names say enough
  const { id, queue, attempt, message } = value as Record<string, unknown>;
  if (typeof id === 'string' && typeof queue === 'string') return `${queue}/${id}#${attempt}`;
  if (typeof message === 'string') return JSON.stringify(message.slice(0, 200));
  try {
    return JSON.stringify(value);
  } catch {
    return '?';
  }
}
