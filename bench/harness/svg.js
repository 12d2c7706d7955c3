// Plots as text, without a browser: bars with their spread, and percentile curves.
import { format } from './report.js';

const WIDTH = 840;
const FONT = 'font-family="system-ui, sans-serif" font-size="13"';
const INK = '#1f2937';
const FAINT = '#6b7280';
const GRID = '#e5e7eb';
const COLOURS = [
  '#2563eb',
  '#059669',
  '#d97706',
  '#7c3aed',
  '#dc2626',
  '#0891b2',
  '#be185d',
  '#4b5563',
];

/**
 * `bars`: `[{name, median, min, max}]`, one below the other; those whose name begins with `howdah` stand
 * out. The lines over the bars reach from the least to the greatest run.
 */
export function barChart({ title, label, digits = 0, bars }) {
  const [left, right, top, step] = [190, 190, 56, 26];
  const greatest = Math.max(...bars.map(({ max }) => max), 0) || 1;
  const x = (value) => left + (value / greatest) * (WIDTH - left - right);
  const lines = bars.flatMap(({ name, median, min, max }, i) => {
    const y = top + i * step;
    const fill = name.startsWith('howdah') ? COLOURS[0] : '#9ca3af';
    return [
      text(left - 8, y + 13, name, { anchor: 'end' }),
      `<rect x="${left}" y="${y}" width="${round(x(median) - left)}" height="18" fill="${fill}"/>`,
      min < max ? whisker(x(min), x(max), y + 9) : '',
      text(Math.max(x(max), left) + 8, y + 13, spread(median, min, max, digits), { fill: FAINT }),
    ];
  });
  return document(title, label, top + bars.length * step + 14, lines);
}

/** `series`: `[{name, points: [{percentile, ms}]}]`; both axes are logarithmic. */
export function percentileChart({ title, series }) {
  const [left, top, height, right] = [64, 56, 300, 150];
  const values = series.flatMap(({ points }) => points.map(({ ms }) => Math.max(ms, 0.01)));
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
  const x = (percentile) => left - (Math.log10(1 - percentile / 100) / 4) * (WIDTH - left - right);
  const y = (ms) => top + height * (1 - (Math.log10(Math.max(ms, 0.01)) - low) / (high - low));
  const grid = [];
  for (let power = low; power <= high; power++) {
    const at = round(y(10 ** power));
    grid.push(`<path d="M${left} ${at}H${WIDTH - right}" stroke="${GRID}"/>`);
    grid.push(text(left - 8, at + 4, `${10 ** power} ms`, { anchor: 'end', fill: FAINT }));
  }
  for (const percentile of [0, 50, 90, 99, 99.9, 99.99]) {
    const at = round(x(percentile));
    grid.push(`<path d="M${at} ${top}V${top + height}" stroke="${GRID}"/>`);
    grid.push(text(at, top + height + 18, `${percentile}%`, { anchor: 'middle', fill: FAINT }));
  }
  const curves = series.flatMap(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map((p) => `${round(x(p.percentile))} ${round(y(p.ms))}`).join('L');
    return [
      `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      text(WIDTH - right + 12, top + 12 + i * 20, name, { fill: colour }),
    ];
  });
  return document(title, 'ms, by percentile', top + height + 34, [...grid, ...curves]);
}

function document(title, label, height, lines) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ${FONT}>`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(16, 22, title, { weight: 600 }),
    text(16, 42, label, { fill: FAINT }),
    ...lines.filter(Boolean),
    '</svg>\n',
  ].join('\n');
}

function whisker(from, to, y) {
  const [a, b] = [round(from), round(to)];
  return `<path d="M${a} ${y - 4}V${y + 4}M${a} ${y}H${b}M${b} ${y - 4}V${y + 4}" stroke="${INK}"/>`;
}

function spread(median, min, max, digits) {
  if (min === max) return format(median, digits);
  return `${format(median, digits)} (${format(min, digits)}-${format(max, digits)})`;
}

function text(x, y, words, { anchor = 'start', fill = INK, weight = 400 } = {}) {
  const place = `x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"`;
  return `<text ${place} fill="${fill}" font-weight="${weight}">${escapeXml(words)}</text>`;
}

const round = (value) => Math.round(value * 10) / 10;

const escapeXml = (words) =>
  words.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
