import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DocBlock } from './doc-blocks.js';
import { ROOT } from './worker-process.js';

const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    skipLibCheck: true,
    types: ['node'],
    rootDir: '.',
    outDir: 'out',
  },
  include: ['*.ts'],
};

/** What the blocks may use without saying where it comes from: see `scripts/run-doc-block.mjs`. */
const GLOBALS = `
  import type { Client } from 'howdah';
  import type pg from 'pg';
  declare global {
    const url: string;
    const pool: pg.Pool;
    const client: Client;
    function sendMail(to: unknown, signal?: AbortSignal): Promise<void>;
  }`;

/** A folder as a user of the package has it: the package and others in its `node_modules`. */
export class DocWorkspace {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'howdah-docs-'));

  constructor() {
    const modules = path.join(this.folder, 'node_modules');
    mkdirSync(modules);
    for (const name of readdirSync(path.join(ROOT, 'node_modules'))) {
      if (!name.startsWith('.'))
        symlinkSync(path.join(ROOT, 'node_modules', name), path.join(modules, name));
    }
    symlinkSync(ROOT, path.join(modules, 'howdah'));
    mkdirSync(path.join(this.folder, 'bin'));
    symlinkSync(path.join(ROOT, 'bin', 'howdah.js'), path.join(this.folder, 'bin', 'howdah'));
    this.#write('package.json', JSON.stringify({ type: 'module' }));
    this.#write('tsconfig.json', JSON.stringify(TSCONFIG));
    this.#write('globals.d.ts', GLOBALS);
    // what the README says is the reader's own
    this.#write(
      'resize.ts',
      'export async function resizeImage(_image: string, _signal: AbortSignal): Promise<void> {}\n',
    );
    const runner = 'test/support/scripts/run-doc-block.mjs';
    copyFileSync(path.join(ROOT, runner), path.join(this.folder, 'run-block.mjs'));
  }

  /** Checks the types of all TypeScript blocks and compiles them. @throws Error with what tsc says */
  compile(blocks: readonly DocBlock[]): void {
    for (const { fileName, text } of blocks) this.#write(fileName, `${text}\nexport {};\n`);
    const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc');
    try {
      execFileSync(process.execPath, [compiler, '-p', this.folder], { encoding: 'utf8' });
    } catch (error) {
      throw new Error(`blocks do not compile:\n${(error as { stdout: string }).stdout}`);
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #write(file: string, text: string): void {
    writeFileSync(path.join(this.folder, file), text);
  }
}
