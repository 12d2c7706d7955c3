import { createClient, createWorker, silentLogger, work } from '../../dist/index.js';
import { createQueue, fill } from '../harness/fill.js';
import { latencyMetrics } from '../harness/statistics.js';

const READY = 10_000;

export default {
  name: 'cancel',
  title: 'cancel of 10,000 ready jobs by filter, and of running ones: commit to the signal, ms',
  settings: { ready: READY },
  takes: (name) => name === 'howdah',
  columns: [
    { key: 'filterMs', label: '10,000 by filter, ms' },
    { key: 'p50', label: 'signal p50', digits: 2 },
    { key: 'p99', label: 'signal p99', digits: 2 },
    { key: 'worst', label: 'worst', digits: 1 },
  ],
  goals: [
    {
      text: 'cancel of 10,000 ready jobs by filter, ms',
      measure: (m) => m('howdah', 'filterMs'),
      most: 1000,
      digits: 0,
    },
    {
      text: 'worst time from the commit of a cancel to the signal, ms',
      measure: (m) => m('howdah', 'worst'),
      most: 100,
      digits: 1,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    await agent(); // installs the schema
    await createQueue(postgres, url);
    const session = await postgres.connect(url);
    await fill(session, { count: READY });
    await session.end();
    const client = createClient({ url });
    try {
      const beganAt = performance.now();
      const { cancelled } = await client.jobs.cancelWhere({ queue: 'bench' });
      const filterMs = performance.now() - beganAt;
      if (cancelled !== READY) throw new Error(`${cancelled} cancelled of ${READY}`);
      return { filterMs, ...latencyMetrics(await signals(client, url, quick ? 40 : 200)) };
    } finally {
      await client.close();
    }
  },
};

async function signals(client, url, count) {
  const warmup = 10;
  let begun = Promise.withResolvers();
  let aborted = Promise.withResolvers();
  const handler = async (_job, { signal }) => {
    begun.resolve();
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    aborted.resolve(performance.now());
    signal.throwIfAborted();
  };
  const worker = createWorker({ url, queues: [work('bench', handler)], logger: silentLogger });
  await worker.start();
  const took = [];
  try {
    for (let n = 0; n < warmup + count; n++) {
      begun = Promise.withResolvers();
      aborted = Promise.withResolvers();
      const { id } = await client.enqueue('bench', { n });
      await begun.promise;
      await client.jobs.cancel(id);
      const committedAt = performance.now();
      const at = await aborted.promise;
      if (n >= warmup) took.push(Math.max(0, at - committedAt));
    }
  } finally {
    await worker.stop({ grace: 0 });
  }
  return Float64Array.from(took);
}
