import { randomBytes } from 'node:crypto';

const BYTES = 200;
/** Payloads from here on are stored out of line, where what repeats is compressed away. */
const LARGE_BYTES = 1024;
let noise;

/** A job of about `bytes`: its number, and the time its latency counts from. */
export function payload(n, at = 0, bytes = BYTES) {
  const bare = { n, at, pad: '' };
  const missing = Math.max(0, bytes - JSON.stringify(bare).length);
  bare.pad = missing < LARGE_BYTES ? 'x'.repeat(missing) : slice(n, missing);
  return bare;
}

/** Text that does not compress much, another for each job. */
function slice(n, length) {
  if (!(noise?.length > 4 * length)) noise = randomBytes(4 * length).toString('base64');
  const from = (n * 97) % (noise.length - length);
  return noise.slice(from, from + length);
}

export function* payloads(from, count, bytes) {
  for (let n = from; n < from + count; n++) yield payload(n, 0, bytes);
}
