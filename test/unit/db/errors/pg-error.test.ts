import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../../src/core/errors.js';
import {
  isConnectionUnusable,
  isTermination,
  toHowdahError,
} from '../../../../src/db/errors/pg-error.js';
import { StatementNames } from '../../../../src/db/query.js';

function serverError(code: string, message = 'it failed', severity = 'ERROR'): Error {
  return Object.assign(new Error(message), { code, severity });
}

describe('toHowdahError', () => {
  test.each([
    ['HW001', 'HOWDAH_QUEUE_UNKNOWN', false],
    ['HW020', 'HOWDAH_LEASE_LOST', false],
    ['HW999', 'HOWDAH_DATABASE_ERROR', false],
    ['42501', 'HOWDAH_PERMISSION_DENIED', false],
    ['28P01', 'HOWDAH_PERMISSION_DENIED', false],
    ['25006', 'HOWDAH_DATABASE_READ_ONLY', true],
    ['25P02', 'HOWDAH_TRANSACTION_INVALID', false],
    ['40001', 'HOWDAH_TRANSACTION_CONFLICT', true],
    ['40P01', 'HOWDAH_TRANSACTION_CONFLICT', true],
    ['57014', 'HOWDAH_TIMEOUT', true],
    ['57P01', 'HOWDAH_DATABASE_UNAVAILABLE', true],
    ['57P03', 'HOWDAH_DATABASE_UNAVAILABLE', true],
    ['53300', 'HOWDAH_DATABASE_UNAVAILABLE', true],
    ['08006', 'HOWDAH_DATABASE_UNAVAILABLE', true],
    ['22P05', 'HOWDAH_PAYLOAD_INVALID', false],
    ['22012', 'HOWDAH_DATABASE_ERROR', false],
  ])('SQLSTATE %s is %s', (sqlstate, code, isRetryable) => {
    const cause = serverError(sqlstate);
    expect(toHowdahError(cause)).toMatchObject({ code, isRetryable, details: { sqlstate }, cause });
  });

  test.each([
    ['3F000', 'schema "jobs" does not exist'],
    ['42P01', 'relation "jobs.queues" does not exist'],
    ['42883', 'function jobs.enqueue(jsonb) does not exist'],
  ])('%s on our schema means that it is missing', (sqlstate, message) => {
    const error = serverError(sqlstate, message);
    expect(toHowdahError(error, 'jobs')).toMatchObject({
      code: 'HOWDAH_SCHEMA_MISSING',
      remedy: expect.stringContaining('howdah migrate'),
    });
    expect(toHowdahError(error, 'other').code).toBe('HOWDAH_DATABASE_ERROR');
  });

  test.each([
    'Connection terminated unexpectedly',
    'timeout expired',
    'timeout exceeded when trying to connect',
    'Client has encountered a connection error and is not queryable',
  ])('the driver says: %s', (message) => {
    expect(toHowdahError(new Error(message)).code).toBe('HOWDAH_DATABASE_UNAVAILABLE');
  });

  test('system errors, of one address or of several', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED ::1:5432'), {
      code: 'ECONNREFUSED',
    });
    const both = Object.assign(new AggregateError([refused, refused]), { code: 'ECONNREFUSED' });
    for (const error of [refused, both]) {
      expect(toHowdahError(error)).toMatchObject({
        code: 'HOWDAH_DATABASE_UNAVAILABLE',
        message: expect.stringContaining('::1:5432'),
      });
    }
  });

  test('a HowdahError passes; anything can be thrown', () => {
    const own = new HowdahError('HOWDAH_SHUTDOWN', 'Stop.');
    expect(toHowdahError(own)).toBe(own);
    for (const thrown of [undefined, null, 'text', 5, {}]) {
      expect(toHowdahError(thrown).code).toBe('HOWDAH_DATABASE_ERROR');
    }
  });

  test('the hint of the server is the remedy', () => {
    const error = Object.assign(serverError('HW001', 'queue x does not exist'), {
      hint: 'create it first',
    });
    expect(toHowdahError(error)).toMatchObject({
      message: 'Queue x does not exist. Create it first.',
      remedy: 'Create it first.',
    });
  });
});

test('a connection survives an SQL error only', () => {
  expect(isConnectionUnusable(serverError('HW001'))).toBe(false);
  expect(isConnectionUnusable(toHowdahError(serverError('23505')))).toBe(false);
  expect(isConnectionUnusable(serverError('57P01', 'bye', 'FATAL'))).toBe(true);
  expect(isConnectionUnusable(serverError('25006'))).toBe(true);
  expect(isConnectionUnusable(new Error('Connection terminated'))).toBe(true);
  expect(isConnectionUnusable(new HowdahError('HOWDAH_OPTION_INVALID', 'No.'))).toBe(false);
});

describe('messages in another language', () => {
  const terminated = Object.assign(
    serverError('57P01', 'закрытие подключения по команде', 'ВАЖНО'),
    {
      routine: 'ProcessInterrupts',
    },
  );

  test('a connection that was terminated is known by its SQLSTATE and routine', () => {
    expect([isConnectionUnusable(terminated), isTermination(terminated)]).toEqual([true, true]);
    const cancelled = Object.assign(serverError('57014', 'выполнение отменено', 'ОШИБКА'), {
      routine: 'ProcessInterrupts',
    });
    expect([isConnectionUnusable(cancelled), isTermination(cancelled)]).toEqual([false, false]);
    for (const code of ['25P03', '25P04', '57P05', '08006']) {
      expect(isConnectionUnusable(serverError(code, 'x', 'FATALE')), code).toBe(true);
    }
  });

  test('a statement whose result has changed is prepared anew', () => {
    const names = new StatementNames();
    const config = names.config({ name: 'n', text: 'select 1' }, [], 1_000);
    const changed = Object.assign(serverError('0A000', 'в кешированном плане изменился тип'), {
      routine: 'RevalidateCachedQuery',
    });
    expect(names.learn(config, serverError('0A000', 'cached plan'))).toBe(false);
    expect(names.learn(config, changed)).toBe(true);
    expect(names.config({ name: 'n', text: 'select 1' }, [], 1_000).name).toBe('n_1');
  });

  test('a full queue of notifications passes, data that is too large does not', () => {
    const full = Object.assign(serverError('54000', 'слишком много уведомлений', 'ОШИБКА'), {
      routine: 'PreCommit_Notify',
    });
    expect(toHowdahError(full)).toMatchObject({
      code: 'HOWDAH_DATABASE_UNAVAILABLE',
      isRetryable: true,
    });
    const large = Object.assign(serverError('54000', 'слишком много', 'ОШИБКА'), {
      routine: 'convertToJsonb',
    });
    expect(toHowdahError(large).code).toBe('HOWDAH_DATABASE_ERROR');
  });

  test('a schema that is missing is known by its name, in any quotation marks', () => {
    for (const message of [
      'le schéma « jobs » n’existe pas',
      'Relation »jobs.queues« existiert nicht',
    ]) {
      expect(toHowdahError(serverError('3F000', message), 'jobs').code).toBe(
        'HOWDAH_SCHEMA_MISSING',
      );
      expect(toHowdahError(serverError('3F000', message), 'job').code).toBe(
        'HOWDAH_DATABASE_ERROR',
      );
    }
  });
});
