import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Lab } from '../lab.js';
import { Site } from '../site.js';
import { STANDBY_BIN, startPair } from '../standby.js';
import { Stream } from '../stream.js';
import type { Finding, Subject } from '../subject.js';

const RATE = 100;
const RESUME_MS = 10_000;
/** Three at a time, so that the primary is killed while jobs are held. */
const EFFECT = { do: 'effect', again: 'effect', ms: 30, isQuiet: true };

interface Failover {
  readonly acknowledged: number;
  /** Acknowledged, and the new primary knows nothing of them. */
  readonly lost: number;
  /** With an effect too many, or completed without one. */
  readonly wrong: number;
  /** Settles of an earlier attempt, or of a job that is gone, that were accepted. */
  readonly stale: number;
  readonly resumeMs: number;
}

function subject(figure: Subject['figures'][number], isSynchronous: boolean): Subject {
  return {
    name: isSynchronous ? 'promoted-standby' : 'promoted-late-standby',
    figures: [figure],
    unable: () => (STANDBY_BIN ? undefined : 'no PostgreSQL with pg_basebackup here'),
    async measure(lab) {
      const all: Failover[] = [];
      for (let n = lab.count(20, 1); n > 0; n -= 1) all.push(await failOver(lab, isSynchronous));
      return [finding(all, isSynchronous)];
    },
  };
}

export const promotedStandby = subject(
  {
    id: 'S13',
    figure: 'the primary killed, its synchronous standby promoted, 20 times',
    target: '0 acknowledged lost, resume <= 10 s',
  },
  true,
);

export const promotedLateStandby = subject(
  {
    id: 'S14',
    figure: 'the same with an asynchronous standby',
    target: 'loss reported exactly, 0 stale acks',
  },
  false,
);

function finding(all: readonly Failover[], isSynchronous: boolean): Finding {
  const sum = (key: 'acknowledged' | 'lost' | 'wrong' | 'stale'): number =>
    all.reduce((total, each) => total + each[key], 0);
  const resume = Math.max(...all.map(({ resumeMs }) => resumeMs));
  const isGood = sum('wrong') + sum('stale') === 0;
  return {
    measured: `${sum('lost')} lost, ${sum('wrong')} wrong effects, ${sum('stale')} completed under an older attempt of ${sum('acknowledged')} acknowledged jobs in ${all.length} failovers; first job after the promotion after at most ${Math.round(resume)} ms`,
    // each was awaited: jobs were held at the kill, and it hit a producer
    faults: all.length,
    isMet: isGood && (!isSynchronous || (sum('lost') === 0 && resume <= RESUME_MS)),
  };
}

async function failOver(lab: Lab, isSynchronous: boolean): Promise<Failover> {
  let before: Site | undefined;
  const pair = await startPair(lab, isSynchronous, async (url) => {
    before = await Site.prepare(lab, url);
    await before.queue('failover');
  });
  const site = Site.on(lab, pair.standbyUrl, await lab.folder());
  const options = { queue: 'failover', url: pair.url, effectsUrl: pair.url, lease: 3_000 };
  await site.crew(2, { ...options, binding: { concurrency: 5 } });
  const stream = Stream.of(site.client(pair.url), 'failover', RATE, EFFECT);
  await sleep(lab.random.int(1_500, 3_000));
  const held = 'select count(lease_id)::int from howdah._jobs';
  await waitFor(() => before?.value<number>(held), { what: 'jobs to be held', intervalMs: 5 });
  const failures = stream.failures;
  await pair.primary.stop('immediate');
  await waitFor(() => stream.failures > failures, { what: 'the failover to hit a producer' });
  await site.pool.query('select pg_promote()');
  const promotedAt = Date.now();
  const first = await waitFor(
    () => site.events.find(({ type, at }) => type === 'job.completed' && at > promotedAt),
    { timeoutMs: 60_000, what: 'a job after the promotion' },
  );
  await sleep(1_000);
  const ids = await stream.stop();
  await site.settled();
  const { lost, doubled, missing } = await site.tally(ids);
  const stale = await staleAcks(site);
  await site.dismiss();
  return {
    acknowledged: ids.length,
    lost,
    wrong: doubled + missing,
    stale,
    resumeMs: first.at - promotedAt,
  };
}

/** Effects of an attempt that is not the one under which the job is completed. */
function staleAcks(site: Site): Promise<number> {
  return site.value(
    `select count(*)::int from effects e left join howdah._history h on h.id = e.job_id
    where h.attempt is distinct from e.attempt`,
  );
}
