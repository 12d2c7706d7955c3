/**
 * Characters that command a terminal, or change how what follows is shown or where a line ends: C0, DEL, C1, marks of
 * direction, the line and paragraph separators.
 */
export const CONTROLS =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** JSON.stringify escapes only the first of them; escaped, JSON means the same. */
export function escapeControls(json: string): string {
  return json.replace(CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
