import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './worker-process.js';

/** A fenced block of a Markdown file. */
export interface DocBlock {
  /** For messages: `docs/sql.md:12`. */
  readonly where: string;
  /** File name for the block: a name of its own where the fence gives one (`ts worker.ts`). */
  readonly fileName: string;
  readonly isNamed: boolean;
  readonly language: string;
  readonly text: string;
}

const FENCE = /^```(\S*)[ \t]*(\S*)$/;

/** @param file from the root of the repository */
export function readDocBlocks(file: string): DocBlock[] {
  const blocks: DocBlock[] = [];
  const stem = path.basename(file, '.md').toLowerCase();
  let open: { line: number; language: string; name: string; lines: string[] } | undefined;
  readFileSync(path.join(ROOT, file), 'utf8')
    .split('\n')
    .forEach((text, index) => {
      const fence = FENCE.exec(text);
      if (!open && fence) {
        open = { line: index + 1, language: fence[1] ?? '', name: fence[2] ?? '', lines: [] };
      } else if (open && text === '```') {
        const { line, language, name, lines } = open;
        blocks.push({
          where: `${file}:${line}`,
          fileName: name || `${stem}-${line}.${language}`,
          isNamed: name !== '',
          language,
          text: `${lines.join('\n')}\n`,
        });
        open = undefined;
      } else open?.lines.push(text);
    });
  if (open) throw new Error(`${file}:${open.line}: the block has no end`);
  return blocks;
}
