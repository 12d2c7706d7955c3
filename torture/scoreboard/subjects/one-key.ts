import type { Subject } from '../subject.js';

const PRODUCERS = 64;
const CLIENTS = 4;
const WINDOW_MS = 2_000;

export const oneKey: Subject = {
  name: 'one-key',
  figures: [
    {
      id: 'S23',
      figure: '64 producers, one key, 100,000 tries',
      target: 'one job a key and window',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('one-key');
    const total = lab.count(100_000, 2_000);
    const created: string[] = [];
    const told = new Set<string>();
    let [next, failures] = [0, 0];
    const clients = Array.from({ length: CLIENTS }, () => site.client());
    const begun = performance.now();
    const producer = async (number: number): Promise<void> => {
      const client = clients[number % CLIENTS];
      while (next < total) {
        next += 1;
        const call = client?.enqueue(queue, null, {
          dedupe: { key: 'the key', window: WINDOW_MS },
        });
        const job = await call?.catch(() => undefined);
        if (!job) failures += 1;
        else told.add(job.id);
        if (job?.created) created.push(job.id);
      }
    };
    await Promise.all(Array.from({ length: PRODUCERS }, (_, n) => producer(n)));
    const seconds = (performance.now() - begun) / 1_000;
    const { rows } = await site.pool.query<{ id: string; gap_ms: number | null }>(
      `select id::text, extract(epoch from enqueued_at - lag(enqueued_at) over (order by enqueued_at))::float8 * 1000 as gap_ms
      from howdah.jobs where queue = $1`,
      [queue],
    );
    const tooSoon = rows.filter(({ gap_ms }) => gap_ms !== null && gap_ms < WINDOW_MS - 1).length;
    const isSame =
      rows.length === created.length &&
      rows.every(({ id }) => created.includes(id)) &&
      told.size === rows.length;
    return [
      {
        measured: `${rows.length} jobs in ${seconds.toFixed(1)} s with a window of ${WINDOW_MS} ms, ${tooSoon} of them within the window of another; ${created.length} were told that theirs is the new one; ${total} tries, ${failures} failed`,
        faults: total - failures,
        isMet: tooSoon === 0 && isSame && failures === 0,
      },
    ];
  },
};
