import { toStorable } from './error-snapshot.js';

const MESSAGE_CHARS_MAX = 4_096;
const FIELDS_BYTES_MAX = 4_096;

/**
 * One line of a job's log as JSON that always fits: text is shortened, what PostgreSQL refuses is replaced, and
 * fields that are no JSON, or too large, are left out with a word why. Never throws.
 * @param agoMs how long ago it was written, when it is sent
 */
export function encodeLogLine(
  level: string,
  message: unknown,
  fields: unknown,
): (agoMs: number) => string {
  const text = textOf(message);
  const facts = fields === undefined ? '' : `,"fields":${fieldsOf(fields)}`;
  const rest = `"level":"${level}","message":${JSON.stringify(text)}${facts}`;
  return (agoMs) => `{"ago_ms":${Math.max(0, Math.round(agoMs))},${rest}}`;
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
