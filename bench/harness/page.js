// docs/benchmarks.md as data, so that what is measured again replaces what it was and the rest stays.

const STAMP = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;
const RAN = '## What ran';

/**
 * The parts of a page: `goals` and `sections` by workload, `ran` by what is said of a subject (a version, its
 * settings): when. Of an empty text there are none.
 */
export function readPage(text) {
  const [above, below = ''] = text.split(`\n${RAN}\n`);
  const page = { goals: new Map(), sections: new Map(), ran: new Map() };
  for (const line of above.match(/^\| \[[\w-]+\]\(#.*$/gm) ?? []) {
    const [, name] = line.match(/^\| \[([\w-]+)\]/);
    page.goals.set(name, [...(page.goals.get(name) ?? []), line]);
  }
  for (const part of above.split(/^(?=### )/m).slice(1)) {
    const [, name] = part.match(/^### (\S+)/);
    page.sections.set(name, `${part.split(/^## /m)[0].trimEnd()}\n`);
  }
  const all = stampsIn(page.sections);
  for (const [, line] of below.matchAll(/^- (.*)$/gm)) {
    const [, words, times] = line.match(/^(.*?)(?: \(((?:[^()]*Z)+)\))?$/);
    page.ran.set(words, new Set(times?.match(STAMP) ?? all));
  }
  return page;
}

/** A page with the parts of `newer` in place of those of `older`; of workloads that there no longer are nothing is kept. */
export function mergePages(older, newer, names) {
  const merged = { goals: new Map(), sections: new Map(), ran: new Map() };
  for (const name of names) {
    const { goals, sections } = newer.sections.has(name) ? newer : older;
    if (goals.has(name)) merged.goals.set(name, goals.get(name));
    if (sections.has(name)) merged.sections.set(name, sections.get(name));
  }
  const stamps = stampsIn(merged.sections);
  for (const [words, times] of [...older.ran, ...newer.ran]) {
    const kept = [...(merged.ran.get(words) ?? []), ...times].filter((time) => stamps.has(time));
    if (kept.length > 0) merged.ran.set(words, new Set(kept));
  }
  return merged;
}

/** The list under {@link RAN}: with times where a subject was not the same at all of them. */
export function formatRan(ran) {
  const counts = new Map();
  for (const words of ran.keys()) {
    counts.set(subjectOf(words), (counts.get(subjectOf(words)) ?? 0) + 1);
  }
  const lines = [...ran].map(([words, times]) =>
    counts.get(subjectOf(words)) === 1
      ? `- ${words}`
      : `- ${words} (${[...times].sort().join(', ')})`,
  );
  return `${RAN}\n\n${lines.join('\n')}\n`;
}

/** `howdah: howdah 0.1.0` speaks of howdah, `PostgreSQL 18.4 ...` of PostgreSQL, `2 x AMD` of the machine. */
const subjectOf = (words) => (/^\d+ x /.test(words) ? 'machine' : words.match(/^[\w-]+/)?.[0]);

/** When the workloads of these sections were measured. */
const stampsIn = (sections) =>
  new Set([...sections.values()].flatMap((text) => text.match(STAMP) ?? []));
