// What is printed and drawn: node --test bench/harness
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeHistogram } from './histogram.js';
import { plotWorkload } from './plot.js';
import { formatWorkload } from './report.js';
import { barChart } from './svg.js';

const workload = {
  name: 'drain',
  title: 'jobs < & >',
  columns: [
    { key: 'rate', label: 'jobs/s' },
    { key: 'never', label: 'never' },
  ],
  goals: [
    { text: 'twice', measure: (m) => m('howdah', 'rate') / m('raw', 'rate'), least: 2 },
    { text: 'at most', measure: (m) => m('howdah', 'rate'), most: 100, digits: 0 },
    { text: 'known', measure: (m) => m('howdah', 'rate') },
    { text: 'absent', measure: (m) => m('bullmq', 'rate'), least: 1 },
  ],
};
const runs = { howdah: [{ rate: 1000 }, { rate: 3000 }, { rate: 2000 }], raw: [{ rate: 1000 }] };

test('a table has the medians, the spread and the goals, and no column that nobody fills', () => {
  const lines = formatWorkload(workload, runs).text.split('\n');
  assert.match(lines[1], /^howdah +2,000 \(1,000-3,000\)/);
  assert.doesNotMatch(lines[0], /never/);
  assert.deepEqual(
    lines.slice(3).map((line) => line.trim()),
    [
      'reached  twice: 2.00 (goal >= 2)',
      'MISSED   at most: 2,000 (goal <= 100)',
      'figure   known: 2,000.00',
    ],
  );
});

test('two commits are compared round by round', () => {
  const { text } = formatWorkload(workload, { howdah: [{ rate: 9 }], against: [{ rate: 10 }] });
  assert.match(text, /ratio {4}jobs\/s, times --against: 0\.900/);
});

test('bars are as long as their medians, whiskers reach from the least to the greatest', () => {
  const svg = plotWorkload(workload, runs);
  assertWellFormed(svg);
  const widths = [...svg.matchAll(/width="([\d.]+)" height="18"/g)].map(([, width]) =>
    Number(width),
  );
  assert.equal(widths.length, 2);
  assert.ok(Math.abs(widths[0] / widths[1] - 2) < 0.01);
  assert.equal(svg.match(/stroke="#1f2937"/g).length, 1, 'one spread: the other ran once');
  assert.match(svg, /jobs &lt; &amp; &gt;/);
});

test('histograms become curves that rise to the right', () => {
  const histogram = encodeHistogram(Array.from({ length: 1000 }, (_, i) => i / 10));
  const svg = plotWorkload(workload, { howdah: [{ rate: 1, histogram }], raw: [{ rate: 1 }] });
  assertWellFormed(svg);
  const [, path] = svg.match(/<path d="M([^"]+)" fill="none"/);
  const points = path.split('L').map((point) => point.split(' ').map(Number));
  for (let i = 1; i < points.length; i++) {
    assert.ok(points[i][0] > points[i - 1][0] && points[i][1] <= points[i - 1][1]);
  }
});

test('nothing measured is nothing drawn', () => {
  assert.equal(plotWorkload(workload, { howdah: [] }), null);
  assertWellFormed(barChart({ title: 't', label: 'l', bars: [] }));
});

/** Every element is closed, in order, and no coordinate is NaN. */
function assertWellFormed(svg) {
  const open = [];
  for (const [, closing, name, selfClosing] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (closing) assert.equal(open.pop(), name);
    else if (!selfClosing) open.push(name);
  }
  assert.deepEqual(open, []);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
}
