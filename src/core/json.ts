import { HowdahError, type HowdahErrorCode } from './errors.js';

/** A value that JSON can carry. Properties that are undefined are left out. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

/**
 * What a value of type `T` becomes by its way through JSON: a Date becomes a string, for instance.
 * Handlers of queues without a schema see this type.
 */
export type Jsonified<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(...args: never[]): infer U }
      ? Jsonified<U>
      : T extends bigint | symbol | ((...args: never[]) => unknown)
        ? never
        : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
          ? never
          : T extends object
            ? { [K in keyof T]: Jsonified<T[K]> }
            : never;

/** Deeper nesting is refused: PostgreSQL's own limit depends on its stack. */
export const JSON_DEPTH_MAX = 500;

/**
 * Whether what came from JSON is nested deeper than a client takes, as only what was stored by other ways than
 * ours can be. It needs no stack, for what it looks at may have used one up.
 */
export function isTooDeep(value: unknown, max = JSON_DEPTH_MAX): boolean {
  let level = isBranch(value) ? [value] : [];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > max) return true;
    const next: object[] = [];
    for (const branch of level) {
      // arrays are walked as they are: a copy of each would cost more than the look
      const members: readonly unknown[] = Array.isArray(branch) ? branch : Object.values(branch);
      for (const member of members) if (isBranch(member)) next.push(member);
    }
    level = next;
  }
  return false;
}

function isBranch(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

const PATH_CHARS_MAX = 200;
/** Escapes that PostgreSQL's jsonb refuses; may also match behind an escaped backslash. */
const SUSPECT_ESCAPE = /\\u(?:0000|d[89a-f])/;

type EncodeErrorCode = Extract<
  HowdahErrorCode,
  | 'HOWDAH_PAYLOAD_INVALID'
  | 'HOWDAH_HEADERS_INVALID'
  | 'HOWDAH_GROUP_INVALID'
  | 'HOWDAH_DEDUPE_INVALID'
  | 'HOWDAH_BATCH_INVALID'
  | 'HOWDAH_TOPIC_INVALID'
  | 'HOWDAH_CODEC_FAILED'
>;

/**
 * Encodes a value as JSON that PostgreSQL's jsonb accepts and that has lost nothing on the way:
 * undefined, functions, symbols, BigInt, NaN, cycles, Map, Set, `\u0000`, lone surrogates and the
 * like are refused. An undefined property is left out, a Date becomes ISO text, and the fields of a
 * class instance are kept.
 * @param what the word for the value in messages: "payload"
 * @throws HowdahError HOWDAH_PAYLOAD_INVALID (or the given code) that names the path of the flaw
 */
export function encodeJson(
  value: unknown,
  what: string,
  code: EncodeErrorCode = 'HOWDAH_PAYLOAD_INVALID',
): string {
  let text: string | undefined;
  let cause: unknown;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    cause = error;
  }
  // One quick walk finds what JSON.stringify drops or alters; strings are looked at only on suspicion.
  const isSuspect = text === undefined || (text.includes('\\u') && SUSPECT_ESCAPE.test(text));
  const flaw = findFlaw(value, isSuspect ? { strings: true, ancestors: [] } : QUICK, 0);
  if (flaw) throw refusal(flaw, what, code, cause);
  if (text !== undefined) return text;
  // JSON.stringify failed, yet nothing is wrong with the value itself: a toJSON threw, perhaps
  const problem = cause instanceof Error ? cause.message : 'cannot be encoded as JSON';
  throw refusal({ path: '', problem }, what, code, cause);
}

interface Flaw {
  path: string;
  problem: string;
}

/** How to walk: whether to look at strings; the objects above, to find cycles (slow path only). */
interface Walk {
  readonly strings: boolean;
  readonly ancestors?: object[];
}

const QUICK: Walk = { strings: false };

function findFlaw(value: unknown, walk: Walk, depth: number): Flaw | undefined {
  switch (typeof value) {
    case 'string':
      return walk.strings ? findTextFlaw(value) : undefined;
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : flaw(`${value} is not a JSON number`);
    case 'object':
      return value === null ? undefined : findObjectFlaw(value, walk, depth);
    case 'bigint':
      // an application may have given BigInt a toJSON
      return hasToJson(value) ? undefined : flaw('a BigInt has no JSON form; use a string');
    case 'undefined':
      return flaw('undefined has no JSON form; use null');
    default:
      return flaw(`a ${typeof value} has no JSON form`);
  }
}

function findObjectFlaw(value: object, walk: Walk, depth: number): Flaw | undefined {
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? flaw('an invalid Date') : undefined;
  }
  if (depth > JSON_DEPTH_MAX) return flaw(`nested deeper than ${JSON_DEPTH_MAX} levels`);
  const { ancestors } = walk;
  if (ancestors?.includes(value)) return flaw('a cycle: the value contains itself');
  ancestors?.push(value);
  const found = hasToJson(value)
    ? findToJsonFlaw(value, walk, depth)
    : findMemberFlaw(value, walk, depth);
  ancestors?.pop();
  return found;
}

function findMemberFlaw(value: object, walk: Walk, depth: number): Flaw | undefined {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = findFlaw(value[i], walk, depth + 1);
      if (found) return under(`[${i}]`, found);
    }
    return undefined;
  }
  const proto = Object.getPrototypeOf(value);
  if (proto !== Object.prototype && proto !== null) {
    const found = findClassFlaw(value);
    if (found) return found;
  }
  const members = value as Record<string, unknown>;
  for (const key of Object.keys(members)) {
    const member = members[key];
    if (member === undefined) continue;
    const found =
      (walk.strings ? findTextFlaw(key) : undefined) ?? findFlaw(member, walk, depth + 1);
    if (found) return under(`.${key}`, found);
  }
  return undefined;
}

/** JSON.stringify asks toJSON once and does not ask its answer again. */
function findToJsonFlaw(value: ToJson, walk: Walk, depth: number): Flaw | undefined {
  let answer: unknown;
  try {
    answer = value.toJSON('');
  } catch (error) {
    return flaw(`toJSON threw: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof answer !== 'object' || answer === null) return findFlaw(answer, walk, depth + 1);
  if (answer !== value && walk.ancestors?.includes(answer)) {
    return flaw('a cycle: the value contains itself');
  }
  return depth > JSON_DEPTH_MAX
    ? flaw(`nested deeper than ${JSON_DEPTH_MAX} levels`)
    : findMemberFlaw(answer, walk, depth + 1);
}

const PRIMITIVE_TAGS = new Set(['Number', 'String', 'Boolean']);

/** Objects of built-in classes whose contents JSON does not see: they would arrive empty. */
function findClassFlaw(value: object): Flaw | undefined {
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag === 'Object' || PRIMITIVE_TAGS.has(tag)) return undefined;
  const isOpaque = tag === 'Error' || ArrayBuffer.isView(value) || Object.keys(value).length === 0;
  if (!isOpaque) return undefined;
  const hint = tag === 'Map' || tag === 'Set' ? '; use an object or array' : '';
  return flaw(`a ${tag} would lose its contents in JSON${hint}`);
}

function findTextFlaw(text: string): Flaw | undefined {
  if (text.includes('\0')) return flaw('text with the character \\u0000, which jsonb refuses');
  return text.isWellFormed() ? undefined : flaw('text with a lone surrogate, which is not Unicode');
}

interface ToJson {
  toJSON(key: string): unknown;
}

function hasToJson(value: object | bigint): value is (object | bigint) & ToJson {
  return typeof (value as Partial<ToJson>).toJSON === 'function';
}

function flaw(problem: string): Flaw {
  return { path: '', problem };
}

/** The same flaw seen from one level up. */
function under(step: string, found: Flaw): Flaw {
  found.path = step + found.path;
  return found;
}

function refusal(found: Flaw, what: string, code: EncodeErrorCode, cause: unknown): HowdahError {
  const path = printable(found.path);
  return new HowdahError(code, `${what}${path} cannot be stored: ${printable(found.problem)}.`, {
    cause,
    details: { path, problem: found.problem },
  });
}

/** Fit for a message: bounded and well-formed. */
function printable(text: string): string {
  const bounded = text.length > PATH_CHARS_MAX ? `${text.slice(0, PATH_CHARS_MAX)}…` : text;
  return bounded.replaceAll('\0', '\\u0000').toWellFormed();
}
