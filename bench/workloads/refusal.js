import { createQueue, fill } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { assertStored } from '../harness/ledger.js';

const BOUND = 1000;
/** The statement that a client enqueues by. */
const ENQUEUE = '%.enqueue_many($1::text%';

export default {
  name: 'refusal',
  title: 'enqueues into a full queue: what a refusal costs the server, and what it leaves there',
  settings: { maxDepth: BOUND },
  takes: isHowdah,
  tracksStatements: true,
  columns: [
    { key: 'refused', label: 'refused, one caller' },
    { key: 'serverMs', label: 'server ms each', digits: 3 },
    { key: 'serverWorstMs', label: 'worst', digits: 3 },
    { key: 'perSecond', label: 'refusals/s, 64 callers' },
    { key: 'written', label: 'rows written' },
    { key: 'dead', label: 'dead rows' },
  ],
  plot: ['serverMs'],
  goals: [
    {
      text: 'server time of a refusal, ms',
      measure: (m) => m('howdah', 'serverMs'),
      most: 1,
      digits: 3,
    },
    {
      text: 'dead rows by refusals',
      measure: (m) => m('howdah', 'dead'),
      most: 0,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const count = quick ? 500 : 5000;
    const producer = await agent();
    await createQueue(postgres, url, { max_depth: BOUND });
    const session = await postgres.connect(url);
    await fill(session, { count: BOUND });
    await session.end();
    await refuse(producer, { from: BOUND, count: 100, callers: 1 }); // declares the queue
    await postgres.settle(url);
    const rows = await postgres.rowsWritten(url);
    const before = await postgres.statements(url, ENQUEUE);
    await refuse(producer, { from: BOUND, count, callers: 1 });
    const after = await postgres.statements(url, ENQUEUE);
    const calls = after.calls - before.calls;
    if (calls !== count) throw new Error(`${count} refusals in ${calls} statements`);
    const many = { from: BOUND, count: 4 * count, callers: 64 };
    const elapsedMs = await refuse(producer, many);
    await assertStored(producer, BOUND);
    await producer.call('finish'); // its sessions report to the statistics as they end
    const left = await postgres.rowsWritten(url);
    return {
      refused: count,
      serverMs: (after.ms - before.ms) / count,
      serverWorstMs: after.worst,
      perSecond: (many.count * 1000) / elapsedMs,
      written: left.written - rows.written,
      dead: left.dead - rows.dead,
    };
  },
};

async function refuse(producer, loop) {
  const { refused, elapsedMs } = await producer.call('try', { how: 'refusals', ...loop });
  if (refused !== loop.count) throw new Error(`${refused} refused of ${loop.count}`);
  return elapsedMs;
}
