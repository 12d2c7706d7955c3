import { hideBin } from 'yargs/helpers';
import { run } from './program.js';

await run(hideBin(process.argv));
