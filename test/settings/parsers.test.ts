import pg from 'pg';
import { describe, onTestFinished } from 'vitest';
import { runCoreFlow } from '../support/core-flow.js';
import { test } from '../support/database.js';

const [BOOL, INT8, INT4, JSON_TYPE, JSONB, TIMESTAMPTZ, FLOAT8] = [
  16, 20, 23, 114, 3802, 1184, 701,
];

/** Parsers that applications set for the whole process: they are the same copy of `pg` that we use. */
const PARSERS: Readonly<Record<string, ReadonlyMap<number, (text: string) => unknown>>> = {
  'bigint is a number': new Map([[INT8, Number]]),
  'bigint is a BigInt, times and JSON are text': new Map<number, (text: string) => unknown>([
    [INT8, BigInt],
    ...[TIMESTAMPTZ, JSON_TYPE, JSONB].map((oid) => [oid, String] as const),
  ]),
  'nothing is as it was': new Map(
    [BOOL, INT4, INT8, FLOAT8, TIMESTAMPTZ, JSON_TYPE, JSONB].map(
      (oid) => [oid, (text: string) => ({ odd: text })] as const,
    ),
  ),
};

describe('a job lives its whole life', () => {
  for (const [what, parsers] of Object.entries(PARSERS)) {
    test(`where, in the whole process, ${what}`, async ({ createDatabase }) => {
      const url = await createDatabase('migrated');
      for (const [oid, parser] of parsers) {
        const before = pg.types.getTypeParser(oid, 'text');
        pg.types.setTypeParser(oid, parser as (text: string) => never);
        onTestFinished(() => pg.types.setTypeParser(oid, before as (text: string) => never));
      }
      await runCoreFlow({ url });
    });
  }

  test('with a pool of the application that has parsers of its own', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const types = { getTypeParser: () => (text: string) => ({ odd: text }) };
    const pool = new pg.Pool({ connectionString: url, max: 4, types: types as never });
    onTestFinished(() => pool.end());
    await runCoreFlow({ url, pool });
  });
});
