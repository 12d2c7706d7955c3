import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';
import { isPermanent, permanently } from '../job/outcome.js';
import { encodeJson, isTooDeep, JSON_DEPTH_MAX, type Json } from '../json.js';

/** What passes a codec. */
export type CodecField = 'payload' | 'headers' | 'result' | 'error' | 'log' | 'progress';

/** Where a value belongs. The same in `encode` and `decode`, but for what is said to be of `decode` only. */
export interface CodecContext {
  readonly schema: string;
  /**
   * The queue for which it is encoded; in `decode`, what columns of the database say: the queue where the job
   * lies or, where it is dead and that is known, the one it came from.
   */
  readonly queue: string;
  /**
   * The same in `encode`. In `decode`, what the stored value says of itself: another name where the job was sent
   * elsewhere, or published. Whoever can store a value could have written any name, so bind to it only what
   * names you expect.
   */
  readonly statedQueue: string;
  readonly field: CodecField;
  /** Undefined for payload and headers: the database draws the id when they are encoded already. */
  readonly jobId: string | undefined;
  /** Only of `decode`: where it lies now. Not `queue`: it is dead, or was sent to another queue. */
  readonly foundIn: string | undefined;
  /**
   * Headers of the job as the producer gave them, for the choice of a key. Undefined where they are not
   * known: while they are decoded themselves, in lists of errors, for a receipt from another process.
   */
  readonly headers: Readonly<Record<string, Json | undefined>> | undefined;
}

/**
 * Changes how payloads, headers, results, errors, logs and progress are stored: compresses or encrypts
 * them, for instance. What is stored carries the codec's id, so that plain and encoded values live
 * side by side.
 *
 * Both ways are synchronous on purpose: they are on the path of every job, and a promise for each would
 * cost more than most codecs do. What needs a service (a key from a KMS) is fetched beforehand and
 * kept; a key that is not there yet is an error that the job's next attempt gets over.
 */
export interface Codec {
  /** Written beside what it encodes: 1 to 32 of `a-z 0-9 -`, beginning with a letter. */
  readonly id: string;
  /**
   * @param text JSON
   * @returns any text without `\u0000`; undefined: store this value as it is
   */
  encode(text: string, context: CodecContext): string | undefined;
  /**
   * @param encoded what `encode` returned, here or in another process
   * @returns the JSON that `encode` was given
   * @throws anything: the attempt has failed. A {@link PermanentError}: it goes to the dead letters.
   */
  decode(encoded: string, context: CodecContext): string;
  /**
   * What is stored in place of a dedupe key: 1 to 1024 bytes, always the same for the same key (an HMAC,
   * for instance). Without it keys are stored as they are.
   */
  dedupeKey?(key: string, context: { readonly schema: string; readonly queue: string }): string;
}

/** The first one encodes; all of them decode what carries their id. */
export type CodecOption = Codec | readonly Codec[];

/** The longest text in characters that a codec may return from `decode`: what a payload of a queue can be at most. */
export const DECODED_CHARS_MAX = { payload: 67_108_864, other: 8_388_608 } as const;

/** What is stored of an encoded value: a JSON object, for headers and errors have to be one. */
interface Envelope {
  /** Id of the codec. */
  readonly $howdah: string;
  /** What the codec is told as `statedQueue`. */
  readonly queue: string;
  readonly data: string;
}

/** What is known of a value beside its field. */
export type CodecPlace = Pick<CodecContext, 'queue'> &
  Partial<Pick<CodecContext, 'jobId' | 'foundIn' | 'headers'>>;

/** Where a stored value was found, by the columns of its row. */
export type StoredPlace = Partial<CodecPlace> & Pick<CodecContext, 'foundIn'>;

const ID = /^[a-z][a-z0-9-]{0,31}$/;
const CODECS_MAX = 16;

/** Whether a stored value is an encoded one. Plain values may not have the key `$howdah`. */
export function isEnvelope(value: unknown): value is Envelope {
  if (typeof value !== 'object' || value === null) return false;
  const { $howdah, queue, data } = value as Partial<Envelope>;
  return typeof $howdah === 'string' && typeof queue === 'string' && typeof data === 'string';
}

/** Whether JSON made of this value might be taken for an encoded one. Never throws. */
export function looksEncoded(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  try {
    return '$howdah' in value;
  } catch {
    return false; // a proxy that throws
  }
}

/** The codecs of one client or worker. Where there are none, there is no such object and no call. */
export class Codecs {
  readonly #schema: string;
  readonly #first: Codec;
  readonly #byId: ReadonlyMap<string, Codec>;

  /** @param codecs as {@link checkCodecs} returned them, at least one */
  constructor(codecs: readonly Codec[], schema: string) {
    this.#schema = schema;
    this.#first = codecs[0] as Codec;
    this.#byId = new Map(codecs.map((codec) => [codec.id, codec]));
  }

  /**
   * @param text JSON
   * @returns the JSON to store
   * @throws HowdahError HOWDAH_CODEC_FAILED
   */
  encode(field: CodecField, text: string, place: CodecPlace): string {
    return this.#envelope(field, text, place) ?? text;
  }

  /** As `encode`, of what is an object anyway. Undefined: it is to be stored as it is. */
  envelope(field: CodecField, value: object, place: CodecPlace): Envelope | undefined {
    const text = this.#envelope(field, JSON.stringify(value), place);
    return text === undefined ? undefined : (JSON.parse(text) as Envelope);
  }

  /** @throws HowdahError HOWDAH_CODEC_FAILED */
  dedupeKey(key: string, queue: string): string {
    const codec = this.#first;
    if (!codec.dedupeKey) return key;
    try {
      return codec.dedupeKey(key, { schema: this.#schema, queue });
    } catch (cause) {
      throw failed(codec.id, 'dedupe key', 'encode', cause);
    }
  }

  /** @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN; what {@link isPermanent} says */
  decode(field: CodecField, envelope: Envelope, place: StoredPlace): unknown {
    const codec = this.#byId.get(envelope.$howdah);
    if (!codec) throw unknown(envelope.$howdah, field, [...this.#byId.keys()]);
    try {
      const queue = place.queue ?? place.foundIn ?? '';
      const context = this.#context(field, { ...place, queue }, envelope.queue);
      return parseDecoded(codec.decode(envelope.data, context), codec.id, field);
    } catch (cause) {
      if (isPermanent(cause)) throw cause;
      throw failed(codec.id, field, 'decode', cause);
    }
  }

  #envelope(field: CodecField, text: string, place: CodecPlace): string | undefined {
    const { id } = this.#first;
    let data: unknown;
    try {
      data = this.#first.encode(text, this.#context(field, place));
    } catch (cause) {
      throw failed(id, field, 'encode', cause);
    }
    if (data === undefined) return undefined;
    if (typeof data !== 'string') {
      throw failed(id, field, 'encode', new TypeError(`encode returned ${describeValue(data)}`));
    }
    const stored = encodeJson(data, `encoded ${field}`, 'HOWDAH_CODEC_FAILED');
    // the place of a publication is its topic, which nobody has checked yet
    return `{"$howdah":"${id}","queue":${JSON.stringify(place.queue)},"data":${stored}}`;
  }

  #context(field: CodecField, place: CodecPlace, stated = place.queue): CodecContext {
    const { queue, jobId, foundIn, headers } = place;
    return { schema: this.#schema, queue, statedQueue: stated, field, jobId, foundIn, headers };
  }
}

/** What a codec returned is bounded as what is stored is: a codec may expand little to much. */
function parseDecoded(text: unknown, id: string, field: CodecField): unknown {
  if (typeof text !== 'string') throw new TypeError(`decode returned ${describeValue(text)}`);
  const max = field === 'payload' ? DECODED_CHARS_MAX.payload : DECODED_CHARS_MAX.other;
  if (text.length > max) throw unbounded(id, field, `${text.length} characters, more than ${max}`);
  const value: unknown = JSON.parse(text);
  if (isTooDeep(value)) throw unbounded(id, field, `more than ${JSON_DEPTH_MAX} levels`);
  return value;
}

/** It would be so at every attempt. */
function unbounded(id: string, field: string, problem: string): HowdahError {
  const error = new HowdahError(
    'HOWDAH_CODEC_FAILED',
    `Codec ${id} made of the ${field} text of ${problem}.`,
    {
      details: { codec: id, field, way: 'decode', problem },
      remedy: 'See who stored it, and bound what the codec expands.',
    },
  );
  return permanently(error);
}

/**
 * A stored value as it was before it was encoded; what is not encoded is returned as it is.
 * @throws HowdahError HOWDAH_CODEC_FAILED, HOWDAH_CODEC_UNKNOWN; a PermanentError of the codec
 */
export function decodeField(
  codecs: Codecs | undefined,
  field: CodecField,
  stored: unknown,
  place: StoredPlace,
): unknown {
  if (!isEnvelope(stored)) return stored;
  if (!codecs) throw unknown(stored.$howdah, field, []);
  const value = codecs.decode(field, stored, place);
  return field === 'headers' ? { ...(value as object), ...factsBeside(stored) } : value;
}

/** Headers that the database wrote beside encoded ones: `howdah-topic`, `howdah-batch`, `howdah-schedule`. */
function factsBeside(envelope: Envelope): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(envelope).filter(([key]) => key.startsWith('howdah-')));
}

/**
 * The codecs of an option, for {@link Codecs}.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function checkCodecs(option: CodecOption | undefined): readonly Codec[] {
  if (option === undefined) return [];
  const codecs: readonly unknown[] = Array.isArray(option) ? option : [option];
  if (codecs.length > CODECS_MAX) throw invalid(`${codecs.length} codecs`, `at most ${CODECS_MAX}`);
  const ids = new Set<string>();
  for (const codec of codecs) {
    const { id, encode, decode } = (codec ?? {}) as Partial<Codec>;
    if (typeof encode !== 'function' || typeof decode !== 'function') {
      throw invalid(describeValue(codec), 'an object with id, encode and decode');
    }
    if (typeof id !== 'string' || !ID.test(id)) {
      throw invalid(`the id ${describeValue(id)}`, '1 to 32 of a-z, 0-9 and -, a letter first');
    }
    if (ids.has(id)) throw invalid(`the id ${id} twice`, 'each id once');
    ids.add(id);
  }
  return codecs as readonly Codec[];
}

/** @returns undefined where there is no codec, so that nothing is called */
export function codecsOf(option: CodecOption | undefined, schema: string): Codecs | undefined {
  const codecs = checkCodecs(option);
  return codecs.length > 0 ? new Codecs(codecs, schema) : undefined;
}

function failed(id: string, field: string, way: string, cause: unknown): HowdahError {
  return new HowdahError('HOWDAH_CODEC_FAILED', `Codec ${id} could not ${way} the ${field}.`, {
    cause,
    details: { codec: id, field, way },
  });
}

function unknown(id: string, field: string, known: readonly string[]): HowdahError {
  return new HowdahError(
    'HOWDAH_CODEC_UNKNOWN',
    `The ${field} is encoded by codec ${describeValue(id)}, which this process does not have.`,
    { details: { codec: id, field, known }, remedy: 'Give it as option codec.' },
  );
}

function invalid(what: string, wanted: string): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', `Option codec: ${what} is not valid.`, {
    details: { option: 'codec' },
    remedy: `Use ${wanted}.`,
  });
}
