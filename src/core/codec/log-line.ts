import { toStorable } from './error-snapshot.js';

const MESSAGE_CHARS_MAX = 4_096;
const FIELDS_BYTES_MAX = 4_096;

/**
 * One line of a job's log as JSON that always fits: text is shortened, what PostgreSQL refuses is replaced, and
 * fields that are no JSON, or too large, are left out with a word why. Never throws.
 * @param seal encodes what it says: that is then all in its fields, and must fit there
 * @param agoMs how long ago it was written, when it is sent
 */
export function encodeLogLine(
  level: string,
  message: unknown,
  fields: unknown,
  seal?: (text: string) => string,
): (agoMs: number) => string {
  const text = textOf(message);
  const facts = fields === undefined ? '' : `,"fields":${fieldsOf(fields)}`;
  const said = `"message":${JSON.stringify(text)}${facts}`;
  const rest = `"level":"${level}",${seal ? sealed(said, text, facts !== '', seal) : said}`;
  return (agoMs) => `{"ago_ms":${Math.max(0, Math.round(agoMs))},${rest}}`;
}

/** Of a line that is too large when it is encoded the fields go first, then the end of its message. */
function sealed(
  said: string,
  text: string,
  hasFields: boolean,
  seal: (text: string) => string,
): string {
  const rest = hasFields ? ',"fields":{"howdah":"fields not kept"}' : '';
  try {
    let stored = seal(`{${said}}`);
    let kept = hasFields ? text.length : shorter(text.length, stored);
    while (Buffer.byteLength(stored) > FIELDS_BYTES_MAX && kept > 0) {
      const cut = kept < text.length ? `${toStorable(text.slice(0, kept))}…` : text;
      stored = seal(`{"message":${JSON.stringify(cut)}${rest}}`);
      kept = shorter(kept, stored);
    }
    if (Buffer.byteLength(stored) <= FIELDS_BYTES_MAX) return `"message":"","fields":${stored}`;
    return '"message":"a line that is too large when it is encoded"';
  } catch {
    return '"message":"a line that the codec could not encode"';
  }
}

/** How much of a text to try next, so that few tries are needed. */
function shorter(length: number, stored: string): number {
  const share = Math.min(FIELDS_BYTES_MAX / Buffer.byteLength(stored), 1);
  return Math.floor(length * share * 0.95);
}

function textOf(message: unknown): string {
  let text: string;
  try {
    text = String(message);
  } catch {
    text = 'a message that cannot be read';
  }
  return toStorable(
    text.length > MESSAGE_CHARS_MAX ? `${text.slice(0, MESSAGE_CHARS_MAX - 1)}…` : text,
  );
}

function fieldsOf(fields: unknown): string {
  try {
    const text = JSON.stringify(fields, (_, value: unknown) => {
      if (value instanceof Error) return { name: value.name, message: toStorable(value.message) };
      if (typeof value === 'bigint') return value.toString();
      return typeof value === 'string' ? toStorable(value) : value;
    });
    // a key may hold what a value may not
    if (text !== undefined && !/\\u(?:0000|d[89a-f])/.test(text)) {
      const bytes = Buffer.byteLength(text);
      return bytes <= FIELDS_BYTES_MAX ? text : `{"howdah":"fields of ${bytes} bytes not kept"}`;
    }
  } catch {
    // a cycle, a getter that throws
  }
  return '{"howdah":"fields that are no JSON not kept"}';
}
