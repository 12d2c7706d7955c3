import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { percentile, Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const RATE = 2_000;
const SLOWER_MAX = 1.2;
const PAUSE_MS = 5;

interface Commits {
  readonly notifying: readonly number[];
  readonly plain: readonly number[];
}

export const bystander: Subject = {
  name: 'bystander',
  figures: [
    {
      id: 'S17',
      figure:
        "a bystander's notifying commit at 2,000 enqueues a second, against one that does not notify",
      target: '<= 1.2x',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('bystander');
    await site.crew(1, { queue, binding: { concurrency: 20 } });
    await site.pool.query('create table notes (id bigserial primary key, text text)');
    const client = await site.cluster.connect();
    lab.defer(() => client.end());
    const total = lab.count(5_000, 200);
    const idle = await commits(client, total);
    const payload = { do: 'done', isQuiet: true };
    const stream = Stream.of(site.client(), queue, RATE, payload);
    await sleep(2_000);
    const [sent, begun] = [stream.acknowledged.size, performance.now()];
    const loaded = await commits(client, total);
    const rate = (stream.acknowledged.size - sent) / ((performance.now() - begun) / 1_000);
    await stream.stop();
    await site.dismiss();
    const half = (list: readonly number[]): number => percentile(list, 0.5);
    const notifying = half(loaded.notifying) / half(idle.notifying);
    const plain = half(loaded.plain) / half(idle.plain);
    const ratio = notifying / plain;
    return [
      {
        measured: `median of a notifying commit ${half(idle.notifying).toFixed(2)} ms idle, ${half(loaded.notifying).toFixed(2)} ms at ${Math.round(rate)} enqueues a second (${notifying.toFixed(2)}x); of a plain one ${half(idle.plain).toFixed(2)} and ${half(loaded.plain).toFixed(2)} ms (${plain.toFixed(2)}x); what notifying adds: ${ratio.toFixed(2)}x`,
        faults: loaded.notifying.length,
        isMet: ratio <= SLOWER_MAX,
      },
    ];
  },
};

/** Milliseconds of commits, of both kinds in turn: whatever else slows the machine slows both. */
async function commits(client: pg.Client, total: number): Promise<Commits> {
  const made = { notifying: [] as number[], plain: [] as number[] };
  for (let n = 0; n < total * 2; n += 1) {
    const kind = n % 2 === 0 ? 'notifying' : 'plain';
    await client.query('begin');
    await client.query("insert into notes (text) values ('a note')");
    if (kind === 'notifying') await client.query("notify bystanders, 'a note'");
    const begun = performance.now();
    await client.query('commit');
    made[kind].push(performance.now() - begun);
    await sleep(PAUSE_MS);
  }
  return made;
}
