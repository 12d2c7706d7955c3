import { describe, expect, test } from 'vitest';
import { buildParser } from '../../../src/cli/program.js';

const COMMANDS = [
  'dev',
  'work',
  'migrate',
  'enqueue',
  'status',
  'jobs list',
  'jobs show',
  'jobs retry',
  'jobs cancel',
  'queues list',
  'queues set',
  'queues pause',
  'queues resume',
  'queues delete',
  'dead-letters list',
  'dead-letters redrive',
  'dead-letters discard',
  'doctor',
];

async function helpOf(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    buildParser(args).parse([...args, '--help'], (_error: unknown, _argv: unknown, text: string) =>
      resolve(text),
    );
  });
}

describe('help', () => {
  test('names every command, the variables and the exit codes', async () => {
    const help = await helpOf([]);
    for (const command of COMMANDS) expect(help).toContain(`howdah ${command.split(' ')[0]}`);
    expect(help).toContain('HOWDAH_DATABASE_URL');
    expect(help).toContain('Exit codes: 0 done');
  });

  test.for(COMMANDS)('%s has examples', async (command) => {
    const help = await helpOf(command.split(' '));
    expect(help).toContain('Examples:');
    expect(help).toMatch(new RegExp(`Examples:[\\s\\S]*howdah ${command}`));
  });
});
