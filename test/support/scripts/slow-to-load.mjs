// A handler file that takes longer to load than its jobs may run.
import { setTimeout } from 'node:timers/promises';

export { default } from './file-handler.mjs';

await setTimeout(900);
