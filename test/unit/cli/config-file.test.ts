import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../../src/cli/config-file.js';
import { makeFolder } from '../../support/cli.js';

test.for([
  ['none.ts', undefined, 'does not exist'],
  ['syntax.ts', 'export default {', 'does not load'],
  ['import.ts', "import 'no-such-package';", 'does not load: Cannot find'],
  ['throws.mjs', "throw new Error('at load')", 'does not load: at load'],
  ['throws-nothing.mjs', 'throw undefined', 'does not load: undefined'],
  ['empty.ts', 'export const x: number = 1;', 'has no default export'],
  ['number.ts', 'export default 5;', 'exports 5, which has no queues'],
  ['null.ts', 'export default null;', 'has no queues'],
  ['no-queues.js', 'export default { queues: [] };', 'of no queues'],
] as const)('%s cannot be used', async ([name, content, problem]) => {
  const folder = makeFolder(content === undefined ? {} : { [name]: content });
  const loading = loadConfig(path.join(folder, name));
  await expect(loading).rejects.toMatchObject({
    code: 'HOWDAH_HANDLER_INVALID',
    message: expect.stringContaining(problem),
  });
  await expect(loading).rejects.toThrow(name);
});

test('a file is never taken from, nor kept in, a folder that others may write to', () => {
  const shared = makeFolder({});
  const folder = makeFolder({
    'howdah.config.ts': 'const a: number[] = [1]; export default { queues: a };',
  });
  const loader = new URL('../../../dist/cli/config-file.js', import.meta.url).href;
  const script = `const { loadConfig } = await import(${JSON.stringify(loader)});
    console.log(JSON.stringify((await loadConfig('howdah.config.ts')).config));`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: folder,
    env: { ...process.env, TMPDIR: shared },
    encoding: 'utf8',
  });
  expect(run.stdout.trim()).toBe('{"queues":[1]}');
  expect(readdirSync(shared)).toEqual([]);
});

test.for(['config.ts', 'config.mts', 'config.js', 'config.mjs'])('%s is loaded', async (name) => {
  const folder = makeFolder({
    [name]: 'export default { queues: [1], lease: "2s" }',
  });
  const { config } = await loadConfig(path.join(folder, name));
  expect(config).toEqual({ queues: [1], lease: '2s' });
});
