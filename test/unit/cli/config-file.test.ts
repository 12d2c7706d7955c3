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

test.for(['config.ts', 'config.mts', 'config.js', 'config.mjs'])('%s is loaded', async (name) => {
  const folder = makeFolder({
    [name]: 'export default { queues: [1], lease: "2s" }',
  });
  const { config } = await loadConfig(path.join(folder, name));
  expect(config).toEqual({ queues: [1], lease: '2s' });
});
