import { command } from '../command.js';
import { connectionOf, outputOf } from '../context.js';
import { EXIT } from '../exit-codes.js';

export const doctorCommand = command({
  command: 'doctor',
  describe: 'Examine the connection, the server and the installation; exit code 1 when one fails',
  builder: (yargs) =>
    yargs
      .example('$0 doctor', '')
      .example(`$0 doctor --json | jq 'select(.result != "ok")'`, 'only what is wrong'),
  handler: async (options) => {
    const { Database } = await import('../../db/database.js');
    const { examine } = await import('../doctor/examine.js');
    const database = new Database({ ...connectionOf(options), connectionsMax: 2 });
    const found = await examine(database).finally(() => database.close());
    const output = outputOf(options);
    if (output.mode === 'table') {
      const width = Math.max(...found.map(({ check }) => check.length));
      for (const { check, result, detail, remedy } of found) {
        output.line(`${result.padEnd(4)}  ${check.padEnd(width)}  ${detail}`);
        if (remedy !== undefined) output.line(`${' '.repeat(width + 8)}${remedy}`);
      }
    } else {
      output.list(found, [
        { key: 'check' },
        { key: 'result' },
        { key: 'detail' },
        { key: 'remedy' },
      ]);
    }
    if (found.some(({ result }) => result === 'fail')) process.exitCode = EXIT.failure;
  },
});
