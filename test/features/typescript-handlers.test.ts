import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { test } from '../support/client.js';
import { ROOT } from '../support/worker-process.js';
import { createQueue, enqueue, readJob } from '../support/workers.js';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const isTypescriptRun = major > 22 || (major === 22 && minor >= 18);
/** A Node that erases types: this one, or the one that the benchmarks have fetched. */
const FETCHED = `${ROOT}bench/node_modules/node-${process.platform}-${process.arch}/bin/node`;
const NEWER = [isTypescriptRun && process.execPath, FETCHED].find(
  (each): each is string => each !== false && existsSync(each),
);

async function runBy(
  node: string,
  program: { url: string; queue: string; kind: string; file: string },
): Promise<Record<string, unknown>> {
  const script = `${ROOT}test/support/scripts/typescript-handlers.mjs`;
  const env = { ...process.env, NODE_OPTIONS: '', PROGRAM: JSON.stringify(program) };
  const { stdout } = await promisify(execFile)(node, [script], { env, timeout: 60_000 });
  return JSON.parse(stdout);
}

describe.each(['threads', 'processes'])('a handler file in TypeScript, run in %s', (kind) => {
  test.skipIf(NEWER === undefined)(
    'runs where Node erases types: 22.18 and later',
    async ({ url, pool }) => {
      const queue = await createQueue(pool, { max_attempts: 1 });
      const [good, bad] = await enqueue(pool, queue, [
        { payload: { n: 21 } },
        { payload: { n: -1 } },
      ]);
      const said = await runBy(NEWER as string, { url, queue, kind, file: 'typed.ts' });
      expect(said).toEqual({ completed: 1, dead: 1 });
      expect((await readJob(pool, good)).result).toEqual({ double: 42 });
      expect((await readJob(pool, bad)).reason).toBe('negative');
      const enums = await runBy(NEWER as string, { url, queue, kind, file: 'enums.ts' });
      expect(enums).toMatchObject({
        code: 'HOWDAH_HANDLER_INVALID',
        remedy: expect.stringContaining('compile'),
      });
    },
  );

  test.skipIf(isTypescriptRun)(
    'is refused by an older Node, with what to do',
    async ({ url, pool }) => {
      const queue = await createQueue(pool);
      await enqueue(pool, queue, [{ payload: { n: 1 } }]);
      const said = await runBy(process.execPath, { url, queue, kind, file: 'typed.ts' });
      expect(said).toMatchObject({
        code: 'HOWDAH_HANDLER_INVALID',
        remedy: expect.stringContaining('22.18'),
      });
    },
  );
});
