/** So often the length of a JSON text may be what jsonb makes of its numbers: `1e+308` has 309 digits. */
const GROWTH_MAX = 48;
const SUSPECT = /\de[+-]?\d\d/;
/** Strings, to pass over them, and numbers with an exponent. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|\d+(?:\.(\d+))?[eE]([+-]?\d+)/g;

/**
 * Bytes of a JSON text of ours as PostgreSQL's jsonb writes it out, which has no exponents: 7 bytes of `1e+300,` become 303.
 * @param max up to which the answer need not be more exact than that it is no more
 */
export function writtenLength(text: string, max: number): number {
  const bytes = text.length * 3 <= max ? text.length : Buffer.byteLength(text);
  if (text.length * GROWTH_MAX <= max || !SUSPECT.test(text)) return bytes;
  let grown = bytes;
  for (const [token, fraction = '', exponent] of text.matchAll(TOKEN)) {
    if (exponent === undefined) continue;
    const places = Number(exponent);
    const digits = places < 0 ? fraction.length - places + 2 : places + 1;
    grown += Math.max(0, digits - token.length);
  }
  return grown;
}
