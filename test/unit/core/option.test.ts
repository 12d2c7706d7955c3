import { expect, test } from 'vitest';
import {
  countOption,
  exclusiveOptions,
  invalidOption,
  truth,
  unknownOption,
  wholeNumber,
} from '../../../src/core/option.js';

test('an error names the option, the value and the remedy', () => {
  expect(invalidOption('size', -1, 'Use more.')).toMatchObject({
    code: 'HOWDAH_OPTION_INVALID',
    message: expect.stringContaining('Option size: -1 is not valid.'),
    details: { option: 'size', value: -1 },
    remedy: 'Use more.',
  });
  expect(unknownOption('sise', ['size', 'name'])).toMatchObject({
    message: expect.stringContaining('Option sise does not exist.'),
    remedy: 'Known are size, name.',
  });
  expect(exclusiveOptions('until', 'for')).toMatchObject({
    message: expect.stringContaining('Options until and for exclude each other.'),
    remedy: 'Leave one out.',
  });
});

test('contents of an object are not shown: they may be a payload', () => {
  const error = invalidOption('onComplete', { secret: 1 }, 'Give another.', 'HOWDAH_BATCH_INVALID');
  expect(error.code).toBe('HOWDAH_BATCH_INVALID');
  expect(error.details).toEqual({ option: 'onComplete' });
  expect(error.message).not.toContain('secret');
});

test('whole numbers within bounds, counts with a default, truth', () => {
  expect(wholeNumber('n', 3, 1, 3)).toBe(3);
  for (const value of [0, 4, 1.5, '2', null, undefined, Number.NaN, 2n]) {
    expect(() => wholeNumber('n', value, 1, 3)).toThrow(/Option n: .* Use a whole number from 1/s);
  }
  expect(countOption('n', undefined, 2, 3)).toBe(2);
  expect(() => countOption('n', null as unknown as number, 2, 3)).toThrow(/Option n: null/);
  expect(truth('t', false)).toBe(false);
  for (const value of [0, 'true', null, undefined]) {
    expect(() => truth('t', value)).toThrow(/Option t: .* Use true or false/s);
  }
});
