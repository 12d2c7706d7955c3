import { describe, expect, test } from 'vitest';
import { HowdahError } from '../../../src/core/errors.js';
import { heldKindOf, makePatient } from '../../../src/db/patience.js';

describe('makePatient', () => {
  test('only the first parameter is wrapped, with its type', () => {
    const statement = { name: 'x', text: 'select f($1::text::jsonb, $2) where $10 is null' };
    expect(makePatient(statement, 10)).toEqual({
      name: 'x_held',
      text: `select f((select $1::text::jsonb from pg_catalog.set_config('lock_timeout', $11::integer::text, true)), $2) where $10 is null`,
    });
    expect(makePatient({ text: 'select f($1::bigint[])' }, 1).text).toContain('$1::bigint[] from');
  });
});

describe('heldKindOf', () => {
  test('the function that waited tells what was held', () => {
    const of = (where: string | undefined) =>
      heldKindOf(new HowdahError('HOWDAH_TIMEOUT', 'held', { cause: { where } }));
    expect(of('fonction PL/pgSQL howdah._change_groups(howdah._groups[], …), ligne 3')).toBe(
      'group',
    );
    expect(of('PL/pgSQL function howdah._lock_keys(jsonb) line 2')).toBe('dedupe');
    expect(of('PL/pgSQL function howdah._batch_problem(jsonb) line 2')).toBe('batch');
    expect(of('something else')).toBeUndefined();
    expect(of(undefined)).toBeUndefined();
  });
});
