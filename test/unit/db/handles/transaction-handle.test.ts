import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../../src/core/errors.js';
import { type TxHandle, transactionRunner } from '../../../../src/db/handles/transaction-handle.js';

/** An error as the server's comes from `pg`. */
const serverError = (code: string, message = 'relation "howdah.x" does not exist') =>
  Object.assign(new Error(message), { code, severity: 'ERROR' });

const throwing =
  (error: unknown): TxHandle =>
  async () => {
    throw error;
  };

const run = (handle: TxHandle) => transactionRunner(handle, 'howdah')('select 1', '[]');

describe('transactionRunner', () => {
  test('trusts a pg client too old to tell its status', async () => {
    const old = { query: async (sql: string, values: string[]) => ({ rows: [{ sql, values }] }) };
    expect(await run(old)).toEqual([{ sql: 'select 1', values: ['[]'] }]);
  });

  test.each([
    ['T', undefined],
    ['I', 'not in a transaction'],
    ['E', 'aborted'],
    [null, 'not in a transaction'],
  ])('a pg client of status %s', async (status, problem) => {
    const client = { query: async () => ({ rows: [] }), getTransactionStatus: () => status };
    if (problem === undefined) expect(await run(client)).toEqual([]);
    else expect(() => transactionRunner(client, 'howdah')).toThrow(problem);
  });

  test('hands one statement and one text parameter to a function', async () => {
    const seen: unknown[] = [];
    await run(async (...call) => {
      seen.push(call);
      return [{}];
    });
    expect(seen).toEqual([['select 1', ['[]']]]);
  });

  test.each([[undefined], [5], [{ rows: [] }], [[1]], [[null]]])(
    'refuses %j for rows',
    async (rows) => {
      await expect(run((async () => rows) as unknown as TxHandle)).rejects.toMatchObject({
        code: 'HOWDAH_TRANSACTION_INVALID',
      });
    },
  );

  test.each([
    ['bare', (error: Error) => error],
    ['in cause', (error: Error) => new Error('query failed', { cause: error })],
    ['in driverError', (error: Error) => Object.assign(new Error('x'), { driverError: error })],
    [
      'twice wrapped',
      (error: Error) => new Error('a', { cause: new Error('b', { cause: error }) }),
    ],
  ])('recognises our errors, %s', async (_, wrap) => {
    for (const [sqlstate, code] of [
      ['HW001', 'HOWDAH_QUEUE_UNKNOWN'],
      ['25P02', 'HOWDAH_TRANSACTION_INVALID'],
      ['42883', 'HOWDAH_SCHEMA_MISSING'],
      ['42501', 'HOWDAH_PERMISSION_DENIED'],
    ] as const) {
      await expect(run(throwing(wrap(serverError(sqlstate))))).rejects.toMatchObject({ code });
    }
  });

  test.each([
    serverError('40001', 'could not serialize access'),
    serverError('40P01', 'deadlock detected'),
    serverError('57014', 'canceling statement due to statement timeout'),
    serverError('08006', 'connection failure'),
    Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }),
    'not even an error',
    new HowdahError('HOWDAH_SHUTDOWN', 'from the handler'),
  ])("leaves the caller's own errors alone: %s", async (error) => {
    await expect(run(throwing(error))).rejects.toBe(error);
  });

  test('survives an error that is its own cause', async () => {
    const error: Error & { cause?: unknown } = new Error('loop');
    error.cause = error;
    await expect(run(throwing(error))).rejects.toBe(error);
  });
});
