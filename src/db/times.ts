/**
 * Lets a statement write its times and fractions in the form that `decoders.ts` reads, whatever DateStyle and
 * extra_float_digits the server, the database, the role or the application's session has. For this one
 * statement only, so that it holds through a pooler and changes nothing on a pool that was handed in.
 */
export function withPlainTimes(text: string): string {
  return `select q.* from (
    select pg_catalog.set_config('DateStyle', 'ISO, MDY', true),
      pg_catalog.set_config('extra_float_digits', '1', true)
  ) plain cross join lateral (${text}) q`;
}
