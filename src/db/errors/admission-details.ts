/** What the SQL functions say of a refusal by admission, with names as TypeScript has them. */
export function admissionDetails(details: unknown): Record<string, unknown> {
  const given = typeof details === 'string' ? parse(details) : details;
  if (typeof given !== 'object' || given === null) return {};
  return Object.fromEntries(
    Object.entries(given).map(([key, value]) => [
      key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
