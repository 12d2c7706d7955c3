const BYTES = 200;

/** A job of about `bytes`: its number, and the time its latency counts from. */
export function payload(n, at = 0, bytes = BYTES) {
  const bare = { n, at, pad: '' };
  bare.pad = 'x'.repeat(Math.max(0, bytes - JSON.stringify(bare).length));
  return bare;
}

export function* payloads(from, count, bytes) {
  for (let n = from; n < from + count; n++) yield payload(n, 0, bytes);
}
