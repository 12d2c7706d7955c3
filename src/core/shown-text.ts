import { snapshotError, toStorable } from './codec/error-snapshot.js';

/** Most characters of a reason; the database keeps no more. */
const REASON_CHARS_MAX = 500;

/** Text of any value, shortened: of an error its message. Never throws. */
export function textOf(value: unknown, charsMax: number = REASON_CHARS_MAX): string {
  const text =
    typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
      ? String(value)
      : snapshotError(value, { stack: false }).message;
  return toStorable(text.slice(0, charsMax));
}

/** The same text without what a database that is not UTF-8 may lack: `\u{1F600}` in place of an emoji. */
export function toAscii(text: string): string {
  return text.replace(
    /[^\x20-\x7e\n\t]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16).toUpperCase()}}`,
  );
}
