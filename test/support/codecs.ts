import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { Codec, CodecContext } from 'howdah';

/** Nothing of it can be read; the same text is always stored alike. */
export const scrambling: Codec = {
  id: 'scrambling',
  encode: (text, context) => `${placeOf(context)} ${scramble(text)}`,
  decode: (encoded, context) => {
    const at = encoded.lastIndexOf(' ');
    const place = encoded.slice(0, at);
    if (place !== placeOf(context)) throw new Error(`is of ${place}, not ${placeOf(context)}`);
    return scramble(encoded.slice(at + 1), true);
  },
  dedupeKey: (key) => createHmac('sha256', 'key').update(key).digest('hex'),
};

const KEY = Buffer.alloc(32, 7);

/** AES-256-GCM; the same text is never stored alike, and the place is authenticated. */
export const sealing: Codec = {
  id: 'sealing',
  encode: (text, context) => {
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', KEY, iv).setAAD(Buffer.from(placeOf(context)));
    const parts = [iv, cipher.update(text, 'utf8'), cipher.final()];
    return Buffer.concat([...parts, cipher.getAuthTag()]).toString('base64');
  },
  decode: (encoded, context) => {
    const bytes = Buffer.from(encoded, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', KEY, bytes.subarray(0, 12))
      .setAAD(Buffer.from(placeOf(context)))
      .setAuthTag(bytes.subarray(-16));
    const plain = [decipher.update(bytes.subarray(12, -16)), decipher.final()];
    return Buffer.concat(plain).toString('utf8');
  },
};

/** Names from which values may come into other queues: redriven there, as dead letters, by a topic. */
const EXPECTED = /^(codec-\d+|coded\.topic)$/;

/** What a codec may bind to: what a value says of itself only where that is expected. */
function placeOf({ schema, queue, statedQueue, field, jobId = '' }: CodecContext): string {
  if (statedQueue !== queue && !EXPECTED.test(statedQueue)) {
    throw new Error(`says that it is of ${statedQueue}, and is of ${queue}`);
  }
  return [schema, statedQueue, field, jobId].join('/');
}

function scramble(text: string, isBack = false): string {
  const bytes = Buffer.from(text, isBack ? 'base64' : 'utf8').map((byte) => byte ^ 0x5a);
  return Buffer.from(bytes).toString(isBack ? 'utf8' : 'base64');
}
