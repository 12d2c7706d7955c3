import { HowdahError, problemOf } from '../core/errors.js';
import { visible } from './terminal-text.js';

/** Passwords in URLs, whoever wrote them into a message. */
const URL_PASSWORD = /(\w+:\/\/[^\s:/@]*):[^\s@]*@/g;

/** Text without the passwords of database URLs. */
export function redact(text: string): string {
  let safe = text.replace(URL_PASSWORD, '$1:***@');
  for (const secret of secretsOfEnvironment()) safe = safe.replaceAll(secret, '***');
  return safe;
}

/** `error CODE: message`, what to do about it on the next line, the stack only where asked for. */
export function describeError(error: unknown, isVerbose: boolean): string {
  const lines = isVerbose
    ? [headOf(error), ...remedyOf(error), stackOf(error)]
    : [headOf(error), ...remedyOf(error)];
  return redact(lines.join('\n'));
}

function headOf(error: unknown): string {
  if (!(error instanceof HowdahError)) {
    return `error: ${visible(error instanceof Error ? error.message : String(error))}`;
  }
  return `error ${error.code}: ${visible(problemOf(error))}`;
}

function remedyOf(error: unknown): string[] {
  return error instanceof HowdahError && error.remedy ? [`  ${visible(error.remedy)}`] : [];
}

function stackOf(error: unknown): string {
  const parts: string[] = [];
  for (let each = error; each instanceof Error && parts.length < 5; each = each.cause) {
    parts.push(each.stack ?? each.message);
  }
  return parts.join('\ncaused by ');
}

function secretsOfEnvironment(): string[] {
  const { PGPASSWORD } = process.env;
  return PGPASSWORD && PGPASSWORD.length >= 4 ? [PGPASSWORD] : [];
}
