/** What is stored of a thrown value. `attempt` and `at` are added by the database. */
export interface ErrorSnapshot {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
}

/** Largest snapshot in bytes of JSON. */
export const SNAPSHOT_BYTES_MAX = 8_192;

const NAME_CHARS_MAX = 120;
const MESSAGE_CHARS_MAX = 3_000;
const STACK_CHARS_MAX = 4_000;
const CODE_CHARS_MAX = 120;
const HEADER_CHARS_MAX = 200;

/**
 * Turns whatever a handler threw (nothing at all, a cycle, a proxy whose traps throw, a message of
 * megabytes) into JSON that always fits the row. Never throws.
 */
export function snapshotError(thrown: unknown, options: { stack?: boolean } = {}): ErrorSnapshot {
  const name = bounded(read(thrown, 'name'), NAME_CHARS_MAX) || nameOfKind(thrown);
  const message = bounded(read(thrown, 'message'), MESSAGE_CHARS_MAX) || describe(thrown);
  const code = bounded(readCode(thrown), CODE_CHARS_MAX);
  const stack = options.stack === false ? '' : stackOf(thrown, name, message);
  return fitBytes({ name, message, ...(code ? { code } : {}), ...(stack ? { stack } : {}) });
}

/** Text without what jsonb refuses: `\u0000` and lone surrogates. */
export function toStorable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed();
}

/** A property as text, undefined where there is none or reading it throws. */
function read(thrown: unknown, key: 'name' | 'message' | 'stack'): string | undefined {
  if (!isObject(thrown)) return undefined;
  try {
    const value = (thrown as Record<string, unknown>)[key];
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function readCode(thrown: unknown): string | undefined {
  if (!isObject(thrown)) return undefined;
  try {
    const { code } = thrown as { code?: unknown };
    return typeof code === 'string' || typeof code === 'number' ? String(code) : undefined;
  } catch {
    return undefined;
  }
}

/** The frames, under a short header: a stack repeats the whole message, which may be huge. */
function stackOf(thrown: unknown, name: string, message: string): string {
  const stack = read(thrown, 'stack');
  const frames = stack?.indexOf('\n    at ') ?? -1;
  if (!stack || frames < 0) return '';
  const header = `${name}: ${message.slice(0, HEADER_CHARS_MAX)}`;
  return bounded(header + stack.slice(frames, frames + STACK_CHARS_MAX), STACK_CHARS_MAX);
}

function bounded(text: string | undefined, charsMax: number): string {
  if (!text) return '';
  return toStorable(text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text);
}

function nameOfKind(thrown: unknown): string {
  return isObject(thrown) ? 'Object' : 'NonError';
}

function describe(thrown: unknown): string {
  if (!isObject(thrown)) {
    if (typeof thrown === 'string') return bounded(thrown, MESSAGE_CHARS_MAX) || 'empty text';
    return `${String(thrown).slice(0, HEADER_CHARS_MAX)} was thrown`;
  }
  try {
    const text = typeof thrown === 'function' ? undefined : JSON.stringify(thrown);
    if (text !== undefined && text !== '{}') return bounded(text, MESSAGE_CHARS_MAX);
  } catch {
    // a cycle, a BigInt, a getter or proxy that throws
  }
  return 'an object without a message was thrown';
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** Shortens stack, then message, until the JSON fits: characters may take up to six bytes. */
function fitBytes(snapshot: ErrorSnapshot): ErrorSnapshot {
  let { stack = '', message } = snapshot;
  const { stack: _, ...rest } = snapshot;
  for (;;) {
    const candidate: ErrorSnapshot = { ...rest, message, ...(stack ? { stack } : {}) };
    if (Buffer.byteLength(JSON.stringify(candidate)) <= SNAPSHOT_BYTES_MAX) return candidate;
    if (stack.length > 200) stack = stack.slice(0, stack.length >> 1).toWellFormed();
    else if (stack) stack = '';
    else message = `${message.slice(0, message.length >> 1)}…`.toWellFormed();
  }
}
