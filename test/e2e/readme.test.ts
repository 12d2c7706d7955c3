import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { type DocBlock, readDocBlocks } from '../support/doc-blocks.js';
import { DocWorkspace } from '../support/doc-workspace.js';
import { waitFor } from '../support/wait-for.js';
import { ROOT, WorkerProcess } from '../support/worker-process.js';

/** The command line has its own tests: `docs/cli.md` is shown there. */
const FILES = [
  'README.md',
  ...readdirSync(path.join(ROOT, 'docs'))
    .filter((file) => file.endsWith('.md') && file !== 'cli.md')
    .map((file) => `docs/${file}`),
];

/** What the README promises first; run by `example.test.ts` and by whoever runs this. */
const FIRST_COMMANDS = 'npm start\nnpm test\n';
/** From an empty folder to a done job; run by `package.test.ts`, from the packed package. */
const FIRST_STEPS = /^(npm init|node first\.js)/;
/** Commands that run until they are told to stop. */
const DAEMON = /^howdah work\b/m;

describe.each(FILES)('%s', (file) => {
  const blocks = readDocBlocks(file);

  test('every block does what it says', { timeout: 300_000 }, async ({ createDatabase }) => {
    const known = new Set(['ts', 'js', 'sql', 'sh', 'text']);
    expect(blocks.filter(({ language }) => !known.has(language)).map(({ where }) => where)).toEqual(
      [],
    );
    const url = await createDatabase('migrated');
    const workspace = new DocWorkspace();
    const roles = blocks.flatMap(({ text }) => text.match(/(?<=^create role )\w+/gm) ?? []);
    await dropRoles(url, roles);
    try {
      workspace.compile(blocks.filter(({ language }) => language === 'ts'));
      for (const block of blocks) await run(block, url, workspace);
    } finally {
      workspace.remove();
      await dropRoles(url, roles);
    }
  });
});

test('the README shows code, and the two commands, early', () => {
  const blocks = readDocBlocks('README.md');
  const lineOf = (block: DocBlock | undefined): number => Number(block?.where.split(':')[1]);
  expect(lineOf(blocks.find(({ language }) => language === 'ts'))).toBeLessThan(25);
  const commands = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text);
  expect(commands[0]).toMatch(/^npm init/);
  expect(commands[2]).toBe(FIRST_COMMANDS);
});

async function run(block: DocBlock, url: string, workspace: DocWorkspace): Promise<void> {
  if (block.language === 'sql') await runSql(block, url);
  else if (block.language === 'ts' && !block.isNamed) await runScript(block, url, workspace);
  else if (
    block.language === 'sh' &&
    block.text !== FIRST_COMMANDS &&
    !FIRST_STEPS.test(block.text)
  ) {
    await runShell(block, url, workspace);
  }
}

/** Roles belong to the server, which may outlive the database. */
async function dropRoles(url: string, roles: readonly string[]): Promise<void> {
  const connection = new pg.Client(url);
  await connection.connect();
  try {
    for (const role of roles) {
      const { rows } = await connection.query('select from pg_roles where rolname = $1', [role]);
      if (rows.length > 0) await connection.query(`drop owned by ${role}; drop role ${role}`);
    }
  } finally {
    await connection.end();
  }
}

async function runSql({ text, where }: DocBlock, url: string): Promise<void> {
  const connection = new pg.Client(url);
  await connection.connect();
  try {
    await connection.query(text);
  } catch (error) {
    throw new Error(`${where}: ${(error as Error).message}`, { cause: error });
  } finally {
    await connection.end();
  }
}

async function runScript(block: DocBlock, url: string, { folder }: DocWorkspace): Promise<void> {
  const module = path.join('out', block.fileName.replace(/ts$/, 'js'));
  const mode = block.text.includes('.start()') ? 'drain' : '';
  const script = new WorkerProcess(['run-block.mjs', module, mode], {
    cwd: folder,
    env: { DATABASE_URL: url },
  });
  const { code } = await script.exited;
  expect(code, `${block.where}:\n${script.output}`).toBe(0);
}

async function runShell(block: DocBlock, url: string, workspace: DocWorkspace): Promise<void> {
  const isDaemon = DAEMON.test(block.text);
  const command = block.text.replace(DAEMON, 'exec $&'); // so that the signal reaches it
  const child = spawn('bash', ['-euo', 'pipefail', '-c', command], {
    cwd: workspace.folder,
    env: {
      ...process.env,
      PATH: `${path.join(workspace.folder, 'bin')}:${process.env.PATH}`,
      DATABASE_URL: url,
      HOWDAH_DATABASE_URL: url,
      NODE_OPTIONS: '',
    },
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  try {
    if (isDaemon) {
      await waitFor(async () => child.exitCode !== null || (await isWorkerThere(url)), {
        timeoutMs: 60_000,
        what: `${block.where} to start`,
      });
      child.kill('SIGTERM');
    }
    expect(await closed, `${block.where}:\n${output}`).toBe(0);
  } finally {
    child.kill('SIGKILL');
  }
}

async function isWorkerThere(url: string): Promise<boolean> {
  const connection = new pg.Client(url);
  await connection.connect();
  try {
    const { rows } = await connection.query(
      "select 1 from pg_stat_activity where datname = current_database() and application_name like 'howdah%listen%'",
    );
    return rows.length > 0;
  } finally {
    await connection.end();
  }
}
