import { setTimeout as sleep } from 'node:timers/promises';
import { type Field, failuresOf, type Nemesis, proxiesOf, seen } from './nemesis.js';

function crash(name: string, what: string, how: 'kill -9' | 'immediate'): Nemesis {
  return {
    name,
    what,
    async strike(field) {
      const failures = await failuresOf(field, async () => {
        await field.cluster.crash(how);
        await sleep(field.random.int(0, 1_000));
        await field.cluster.restart();
        await field.cluster.ready();
      });
      return failures > 0 ? `${failures} calls of producers failed` : undefined;
    },
  };
}

export const killServer = crash('kill-server', 'kill -9 of PostgreSQL, then recovery', 'kill -9');
export const stopServer = crash(
  'stop-server',
  'immediate stop of PostgreSQL amid commits',
  'immediate',
);

/** One backend dies and takes all others along: the server recovers by itself. */
export const killBackend: Nemesis = {
  name: 'kill-backend',
  what: 'kill -9 of a backend, which restarts all of PostgreSQL',
  async strike(field) {
    const failures = await failuresOf(field, async () => {
      const pid = await field.cluster.value<number | undefined>(
        `select pid from pg_stat_activity where application_name like 'howdah%' order by random() limit 1`,
      );
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
      await sleep(100);
      await field.cluster.ready();
    });
    return failures > 0 ? `${failures} calls of producers failed` : undefined;
  },
};

/** For a while there is only a standby, which everybody meets and which refuses to write. */
export const losePrimary: Nemesis = {
  name: 'lose-primary',
  what: 'the primary is lost, and its synchronous standby promoted',
  async strike(field) {
    const { cluster, crowd, random } = field;
    const standby = await cluster.makeStandby();
    const acknowledgedAfter = (count: number, timeoutMs: number): Promise<number | undefined> =>
      seen(
        async () => (crowd.acknowledged > count ? crowd.acknowledged - count : undefined),
        timeoutMs,
      );
    const before = crowd.acknowledged;
    await sleep(random.int(500, 1_500));
    const byBoth = (await acknowledgedAfter(before, 5_000)) ?? 0;
    let resumedMs: number | undefined;
    const failures = await failuresOf(field, async () => {
      await cluster.crash(random.chance(0.5) ? 'kill -9' : 'immediate');
      for (const proxy of proxiesOf(field)) proxy.redirect(standby.url);
      await sleep(random.int(0, 1_500));
      await cluster.goOver(standby);
      const begun = performance.now();
      const next = await acknowledgedAfter(crowd.acknowledged, 15_000);
      resumedMs = next && Math.round(performance.now() - begun);
    });
    return failures > 0 && byBoth > 0 && resumedMs !== undefined
      ? `${byBoth} calls acknowledged by both, ${failures} failed, work again after ${resumedMs} ms`
      : undefined;
  },
};

export const terminate: Nemesis = {
  name: 'terminate',
  what: 'pg_terminate_backend of random sessions',
  async strike(field: Field) {
    let ended = 0;
    for (let i = field.random.int(3, 8); i > 0; i -= 1) {
      ended += await field.cluster.value<number>(
        `select count(pg_terminate_backend(pid))::int from (
          select pid from pg_stat_activity
          where application_name <> 'torture' and backend_type = 'client backend'
          order by random() limit 2) s`,
      );
      await sleep(field.random.int(20, 200));
    }
    return ended > 0 ? `${ended} sessions` : undefined;
  },
};
