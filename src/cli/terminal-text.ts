import { CONTROLS } from '../core/control-characters.js';

/** Longest text of a cell on a terminal. */
const CELL_CHARS_MAX = 60;

/** Text from a database or a file as one line that a terminal can show without being commanded. */
export function visible(text: string): string {
  return text.replace(CONTROLS, (char) => {
    if (char === '\n') return '⏎';
    return char === '\t' ? ' ' : codeOf(char);
  });
}

/** The same of a text that has its own lines and tabs. */
export function harmless(text: string): string {
  return text.replace(CONTROLS, (char) => (char === '\n' || char === '\t' ? char : codeOf(char)));
}

function codeOf(char: string): string {
  const code = char.charCodeAt(0).toString(16);
  return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
}

/** Columns that a text takes: most scripts one a character, those of East Asia and emoji two. */
function widthOf(text: string): number {
  let width = 0;
  for (const char of text)
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u.test(
        char,
      )
        ? 2
        : 1;
  return width;
}

/** Cuts a text that is too wide for its cell. */
export function shortened(text: string, widthMax = CELL_CHARS_MAX): string {
  if (widthOf(text) <= widthMax) return text;
  let kept = '';
  let width = 0;
  for (const char of text) {
    width += widthOf(char);
    if (width >= widthMax) break;
    kept += char;
  }
  return `${kept}…`;
}

/** Rows under each other; the last column is not padded. */
export function alignColumns(rows: readonly (readonly string[])[], isRight: readonly boolean[]) {
  const widths = isRight.map((_, i) =>
    rows.reduce((width, row) => Math.max(width, widthOf(row[i] ?? '')), 0),
  );
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)));
        if (isRight[i]) return gap + cell;
        return i === row.length - 1 ? cell : cell + gap;
      })
      .join('  ')
      .trimEnd(),
  );
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

/** A length of time for people: `3d 4h`, `12m 5s`, `1.5s`, `20ms`. */
export function showMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(1))}s`;
  const first = UNITS.findIndex(([, size]) => ms >= size);
  const [unit, size] = UNITS[first] ?? UNITS[3];
  const [nextUnit, nextSize] = UNITS[first + 1] ?? UNITS[3];
  const rest = Math.floor((ms % size) / nextSize);
  return `${Math.floor(ms / size)}${unit}${rest > 0 ? ` ${rest}${nextUnit}` : ''}`;
}

/** 1234567 as `1,234,567`. */
export function showCount(count: number): string {
  return count.toLocaleString('en-US');
}
