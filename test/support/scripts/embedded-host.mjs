// Starts an embedded server, tells where, and ends as the first argument says.
import path from 'node:path';
import { startEmbeddedPostgres } from 'howdah/embedded';

const [how] = process.argv.slice(2);
const server = await startEmbeddedPostgres();
const workspace = path.dirname(server.dataDir);
process.stdout.write(`${JSON.stringify({ url: server.url, pid: server.pid, workspace })}\n`);
if (how === 'wait') setInterval(() => undefined, 1_000);
if (how === 'throw') throw new Error('on purpose');
if (how === 'exit') process.exit(3);
// Otherwise there is nothing left to do: the process ends by itself.
