import type { Subject } from '../subject.js';

const HOUR_MS = 3_600_000;
const SKEWS_MS = [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS];
const DELAYS_MS = 3_000;

export const wrongClocks: Subject = {
  name: 'wrong-clocks',
  figures: [
    {
      id: 'S7',
      figure: 'clocks of workers wrong by +-1 h and +-1 day, 10,000 delayed jobs',
      target: '0 early runs, 0 false reaps',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('clocks');
    const options = { queue, lease: 2_000, binding: { concurrency: 10 } };
    const crew = SKEWS_MS.map((skewMs) => site.hand(options, { skewMs }));
    await Promise.all(crew.map((hand) => hand.heard('worker.started')));
    const ids: string[] = [];
    for (let left = lab.count(10_000, 200); left > 0; left -= 100) {
      const delay = lab.random.int(1, DELAYS_MS);
      const payloads = Array.from({ length: Math.min(100, left) }, () => ({ do: 'done' }));
      ids.push(...(await site.enqueue(queue, payloads, { delay_ms: delay })));
    }
    const { rows } = await site.pool.query<{ id: string; run_at: Date }>(
      'select id::text, run_at from howdah.job_states where id = any ($1)',
      [ids],
    );
    const due = new Map(rows.map(({ id, run_at }) => [id, run_at?.getTime()] as const));
    const left = await site.settled();
    await site.dismiss();
    const runs = await site.pool.query<{ id: string; at: Date; attempt: number; pid: number }>(
      'select job_id::text as id, at, attempt, pid from runs',
    );
    const early = runs.rows.filter(({ id, at }) => at.getTime() < (due.get(id) ?? 0)).length;
    const again = runs.rows.filter(({ attempt }) => attempt > 1).length;
    const lostLeases = site.events.filter(({ type }) => type === 'lease.lost').length;
    const busy = new Set(runs.rows.map(({ pid }) => pid)).size;
    return [
      {
        measured: `${early} early runs, ${again} second runs, ${lostLeases} leases lost, ${left} left of ${ids.length} delayed jobs; ${busy} of ${SKEWS_MS.length} workers with a wrong clock ran them`,
        faults: runs.rows.length,
        isMet: early + again + lostLeases + left === 0 && busy > 1,
      },
    ];
  },
};
