/** How a lone `-` among the arguments reaches a command. */
export const STANDARD_INPUT = '@-';

/** Ids from the command line; a single `-` means standard input, one a line. */
export async function readIds(ids: readonly string[]): Promise<string[]> {
  if (ids.length !== 1 || ids[0] !== STANDARD_INPUT) return [...ids];
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
