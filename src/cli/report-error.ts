import { HowdahError, problemOf } from '../core/errors.js';
import { harmless, visible } from './terminal-text.js';

/** Parameters of a connection that are secret: in a URL, as keyword=value, in JSON or an environment. */
const SECRET_PARAMETERS =
  /((?:pass(?:word|wd|phrase)|pwd|secret|sslkey|[?&]key)["']?\s{0,9}[=:]\s{0,9})('(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|[^\s&;,'"})\]]+)/gis;
/** The shortest password that is looked for by itself: shorter ones are in many a word. */
const SECRET_CHARS_MIN = 4;

/** Text without the passwords of connections, whoever wrote them into a message. Linear in the text. */
export function redact(text: string): string {
  let safe = text
    .split(/(\s)/)
    .map((word) => (word.includes('://') ? withoutPassword(word) : word))
    .join('')
    .replace(SECRET_PARAMETERS, '$1***');
  for (const secret of secretsOfEnvironment()) safe = safe.replaceAll(secret, '***');
  return safe;
}

/** From the colon after the user to the last @, for a password may have a / or an @ that nobody has encoded. */
function withoutPassword(word: string): string {
  const user = word.indexOf('://') + 3;
  const colon = word.indexOf(':', user);
  const at = word.lastIndexOf('@');
  return colon < 0 || at < colon ? word : `${word.slice(0, colon)}:***${word.slice(at)}`;
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
  return harmless(parts.join('\ncaused by '));
}

function secretsOfEnvironment(): string[] {
  const { PGPASSWORD } = process.env;
  return PGPASSWORD && PGPASSWORD.length >= SECRET_CHARS_MIN ? [PGPASSWORD] : [];
}
