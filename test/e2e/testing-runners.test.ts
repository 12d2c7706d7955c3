import path from 'node:path';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { readDocBlocks } from '../support/doc-blocks.js';
import { DocWorkspace } from '../support/doc-workspace.js';
import { WorkerProcess } from '../support/worker-process.js';

/** How each runner is told to run its file of docs/testing.md, and what it says of three good tests. */
const RUNNERS = [
  {
    name: 'Vitest',
    args: ['node_modules/vitest/vitest.mjs', 'run', 'out/signup.vitest.test.js'],
    says: /Tests +3 passed/,
  },
  {
    name: 'Jest',
    args: [
      '--experimental-vm-modules',
      'node_modules/jest/bin/jest.js',
      '--config',
      'out/jest.config.js',
      'signup.jest.test.js',
    ],
    says: /Tests: +3 passed, 3 total/,
  },
  {
    name: 'node:test',
    args: ['--test', '--test-reporter=tap', 'out/signup.node.test.js'],
    says: /^# pass 3$/m,
  },
];

test('the recipe works in each runner', { timeout: 300_000 }, async ({ url }) => {
  const workspace = new DocWorkspace();
  try {
    const blocks = readDocBlocks('docs/testing.md').filter(({ isNamed }) => isNamed);
    workspace.compile(blocks);
    for (const { name, args, says } of RUNNERS) {
      const runner = new WorkerProcess(
        args.map((each) =>
          each.startsWith('node_modules/') ? path.join(workspace.folder, each) : each,
        ),
        {
          cwd: workspace.folder,
          env: { DATABASE_URL: url, NO_COLOR: '1', FORCE_COLOR: undefined },
        },
      );
      const { code } = await runner.exited;
      expect(runner.output, name).toMatch(says);
      expect(runner.output, name).not.toContain('did not exit');
      expect(code, `${name}:\n${runner.output}`).toBe(0);
    }
  } finally {
    workspace.remove();
  }
});
