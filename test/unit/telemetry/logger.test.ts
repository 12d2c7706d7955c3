import { expect, test } from 'vitest';
import { jsonLogger, withFields } from '../../../src/telemetry/logger.js';

function capture(level?: 'debug' | 'warn' | 'silent') {
  const lines: string[] = [];
  const now = () => new Date(0);
  const logger = jsonLogger({
    write: (line) => lines.push(line),
    now,
    ...(level ? { level } : {}),
  });
  return { logger, lines };
}

test('writes one JSON object a line, from its level upwards', () => {
  const { logger, lines } = capture('warn');
  logger.info('not written');
  logger.warn('written', { jobId: '1', big: 10n });
  expect(lines).toEqual([
    '{"at":"1970-01-01T00:00:00.000Z","level":"warn","message":"written","jobId":"1","big":"10"}\n',
  ]);
});

test('silent writes nothing', () => {
  const { logger, lines } = capture('silent');
  logger.error('x');
  expect(lines).toEqual([]);
});

test('errors and cycles are written, never thrown', () => {
  const { logger, lines } = capture();
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  logger.error('bad', { error: new TypeError('no') });
  logger.error('worse', cycle);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ error: { name: 'TypeError', message: 'no' } });
  expect(JSON.parse(lines[1] ?? '')).toMatchObject({
    message: 'worse',
    fields: 'not serialisable',
  });
});

test('fields are added, and a logger that throws is contained', () => {
  const { logger, lines } = capture();
  withFields(logger, { queue: 'q' }).info('m', { jobId: '1' });
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ queue: 'q', jobId: '1' });
  const broken = {
    ...logger,
    info: () => {
      throw new Error('disk full');
    },
  };
  expect(() => withFields(broken, {}).info('m')).not.toThrow();
});
