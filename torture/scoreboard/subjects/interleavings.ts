import { type Actor, Model, schedules } from '../interleaving.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

/** A change of a function in one database: the text must be there. */
interface Plant {
  readonly bug: string;
  readonly of: string;
  readonly find: RegExp;
  readonly put: string;
}

const PLANTS: readonly Plant[] = [
  {
    bug: 'settle() does not look whose the job is',
    of: 'settle',
    find: /j\.lease_id = p_lease_id and j\.attempt = v_ask\.attempt/,
    put: 'j.lease_id is not null',
  },
  {
    bug: 'complete_many() does not look whose the job is',
    of: 'complete_many',
    find: /j\.lease_id = p_lease_id\s+and \(j\.attempt = v_attempt or [^\n]*/g,
    put: 'j.lease_id is not null',
  },
  {
    bug: 'the reaper takes leases that have not ended',
    of: 'reap',
    find: /where l\.expires_at < clock\(\)/,
    put: 'where true',
  },
  {
    bug: 'a claim takes what is held',
    of: 'claim_many',
    find: / and j\.lease_id is null/g,
    put: '',
  },
  {
    bug: 'the attempt is not counted at the claim',
    of: 'claim_many',
    find: /attempt = j\.attempt \+ 1, claimed_at/g,
    put: 'attempt = greatest(j.attempt, 1), claimed_at',
  },
];

export const interleavings: Subject = {
  name: 'interleavings',
  figures: [
    {
      id: 'S6',
      figure: 'all 560 interleavings of two workers and the reaper on real SQL',
      target: '0 violations; finds 5 of 5 planted bugs',
    },
  ],
  async measure(lab) {
    const orders = lab.random.shuffle(schedules()).slice(0, lab.count(560, 60));
    // each with either way to complete
    const all = orders.flatMap((order) => [order, order]);
    const site = await lab.site({ synchronous_commit: false });
    const violations = await violationsOf(lab, site, all);
    for (const each of violations.slice(0, 5)) lab.say(each);
    let found = 0;
    for (const plant of PLANTS) {
      const caught = await isCaught(lab, plant, all);
      lab.say(`${plant.bug}: ${caught ?? 'NOT FOUND'}`);
      if (caught) found += 1;
    }
    return [
      {
        measured: `${violations.length} violations in ${orders.length} interleavings, with either of two ways to complete; ${found} of ${PLANTS.length} planted bugs found`,
        faults: all.length,
        isMet: violations.length === 0 && found === PLANTS.length,
      },
    ];
  },
};

async function violationsOf(lab: Lab, site: Site, all: readonly Actor[][]): Promise<string[]> {
  const model = await Model.open(lab, site);
  const violations: string[] = [];
  for (const [number, schedule] of all.entries()) {
    const problems = await model.play(schedule, number);
    violations.push(...problems.map((problem) => `${schedule.join(' ')}: ${problem}`));
  }
  return violations;
}

/** Plays until something is wrong; returns what. */
async function isCaught(
  lab: Lab,
  plant: Plant,
  all: readonly Actor[][],
): Promise<string | undefined> {
  const site = await lab.site({ synchronous_commit: false });
  await sow(site, plant);
  const model = await Model.open(lab, site);
  for (const [number, schedule] of all.entries()) {
    const [problem] = await model
      .play(schedule, number)
      .catch((error: Error) => [`an error: ${error.message}`]);
    if (problem) return `${problem}, in schedule ${number + 1}`;
  }
  return undefined;
}

async function sow(site: Site, { of, find, put }: Plant): Promise<void> {
  const { rows } = await site.pool.query<{ text: string }>(
    `select pg_get_functiondef(oid) as text from pg_proc
    where pronamespace = 'howdah'::regnamespace and proname = $1`,
    [of],
  );
  const text = rows[0]?.text ?? '';
  const planted = text.replace(find, put);
  if (rows.length !== 1 || planted === text) throw new Error(`${of}() has no ${find}`);
  await site.pool.query(planted);
}
