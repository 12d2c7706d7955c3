import { setTimeout as sleep } from 'node:timers/promises';
import { type Field, failuresOf, type Nemesis } from './nemesis.js';

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
