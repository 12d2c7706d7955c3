import { expect } from 'vitest';
import { test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, spawnWorker } from '../support/workers.js';

test('every nominal time has one job although each leader is killed', { timeout: 120_000 }, async ({
  url,
  pool,
  client,
}) => {
  const name = await createQueue(pool);
  await client.schedules.put({ name: 'killed', cron: '*/2 * * * * *', queue: name });
  const nominal = async (): Promise<number[]> => {
    const { rows } = await pool.query(
      `select headers -> 'howdah-schedule' ->> 'at' as at from howdah.jobs
      where queue = $1 order by 1`,
      [name],
    );
    return rows.map(({ at }) => Date.parse(at));
  };
  const start = () => spawnWorker({ url, queue: name, handler: 'noop' });
  const workers = [await start(), await start(), await start()];
  for (let kills = 0; kills < 3; kills += 1) {
    const before = (await nominal()).length;
    await waitFor(async () => (await nominal()).length > before, { timeoutMs: 30_000 });
    const leader = await waitFor(
      async () => {
        const { rows } = await pool.query(
          "select info ->> 'pid' as pid from howdah.workers where leads",
        );
        return workers.find((each) => each.isRunning && each.pid === Number(rows[0]?.pid));
      },
      { timeoutMs: 30_000 },
    );
    leader.kill('SIGKILL');
    await leader.exited;
    workers.push(await start());
  }
  const before = (await nominal()).length;
  await waitFor(async () => (await nominal()).length > before, { timeoutMs: 30_000 });
  await client.schedules.delete('killed');
  const times = await nominal();
  const first = times[0] as number;
  expect(times).toEqual(times.map((_, n) => first + n * 2_000));
});
