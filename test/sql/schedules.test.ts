import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const MINUTE = 60_000;

interface Due {
  readonly id: string;
  readonly revision: number;
  readonly afterMs: number;
}

let made = 0;
const newName = (): string => {
  made += 1;
  return `s-${made}`;
};

const put = (db: Engine, name: string | null, schedule: unknown, owner: string | null = null) =>
  db.one<string>('select howdah.put_schedule($1, $2::text::jsonb, $3)', [
    name,
    JSON.stringify(schedule),
    owner,
  ]);

async function newSchedule(db: Engine, more: object = {}): Promise<string> {
  const name = newName();
  await db.createQueue('reports');
  await put(db, name, { cron: '* * * * *', queue: 'reports', ...more });
  return name;
}

/** What the scheduler is given, of one schedule. */
async function dueOf(db: Engine, name: string): Promise<Due | undefined> {
  const id = await db.one<string>('select id from howdah._schedules where name = $1', [name]);
  const due = await db.one<[string, number, string, string, number][] | null>(
    'select due from howdah.due_schedules(2000)',
  );
  const entry = due?.find(([each]) => each === id);
  return entry && { id: entry[0], revision: entry[1], afterMs: entry[4] };
}

const fire = async (db: Engine, ...plans: object[]) => {
  const [row] = await db.rows('select * from howdah.fire_schedules($1::text::jsonb)', [
    JSON.stringify(plans.map((plan) => ({ runs: [], skipped: null, error: null, ...plan }))),
  ]);
  return row;
};

/** A plan for what is due: nominal times so many minutes after what is decided. */
async function planOf(db: Engine, name: string, ...minutes: number[]) {
  const { id, revision, afterMs } = (await dueOf(db, name)) as Due;
  const base = Math.floor(afterMs / MINUTE) * MINUTE;
  const runs = minutes.map((minute) => base + minute * MINUTE);
  const after = runs.at(-1) ?? afterMs;
  return { id, revision, runs, after, next: base + 100 * MINUTE };
}

const view = async (db: Engine, name: string) =>
  (await db.rows('select * from howdah.schedules where name = $1', [name]))[0] ?? {};

/** The job of each nominal time, as its headers tell. */
const jobsOf = (db: Engine, name: string) =>
  db.rows<{ at: string }>(
    `select headers -> 'howdah-schedule' ->> 'at' as at, id, payload, priority from howdah.jobs
    where headers -> 'howdah-schedule' ->> 'name' = $1 order by 1`,
    [name],
  );

describe('put_schedule', () => {
  test('creates, changes, and writes nothing where nothing is new', async ({ db }) => {
    const name = newName();
    await db.createQueue('reports');
    const given = { cron: ' 0  3 * * * ', queue: 'reports', payload: { n: 1 }, priority: 5 };
    expect(await put(db, name, given)).toBe('created');
    expect(await put(db, name, given)).toBe('unchanged');
    expect(await view(db, name)).toMatchObject({
      cron: '0 3 * * *',
      zone: 'UTC',
      missed: 'once',
      missed_max: 100,
      queue: 'reports',
      payload: { n: 1 },
      options: { priority: 5 },
      owner: null,
      next_at: null,
      last_outcome: null,
    });
    expect(await put(db, name, { ...given, zone: 'Europe/Berlin', missed: 'all' })).toBe('changed');
    expect(await view(db, name)).toMatchObject({ zone: 'Europe/Berlin', missed: 'all' });
  });

  test('keeps the next time when only the job changes, and looks again when the expression does', async ({
    db,
  }) => {
    const name = await newSchedule(db);
    await fire(db, await planOf(db, name));
    const { next_at } = await view(db, name);
    expect(next_at).toBeInstanceOf(Date);
    await put(db, name, { cron: '* * * * *', queue: 'reports', payload: 'new' });
    expect(await view(db, name)).toMatchObject({ next_at, payload: 'new' });
    expect(await dueOf(db, name)).toBeUndefined();
    await put(db, name, { cron: '*/5 * * * *', queue: 'reports' });
    expect(await view(db, name)).toMatchObject({ next_at: null });
    expect(await dueOf(db, name)).toBeDefined();
  });

  test('refuses what cannot be a schedule', async ({ db }) => {
    await db.createQueue('reports');
    const good = { cron: '* * * * *', queue: 'reports' };
    const cases: [unknown, string, string?][] = [
      [good, 'HW191', ''],
      [good, 'HW191', 'x'.repeat(10_240)],
      [good, 'HW191', 'two words'],
      [[], 'HW191'],
      [{ ...good, tz: 'UTC' }, 'HW191'],
      [{ ...good, run_at: '2030-01-01T00:00:00Z' }, 'HW191'],
      [{ ...good, missed: 'never' }, 'HW191'],
      [{ ...good, missed_max: 0 }, 'HW191'],
      [{ ...good, missed_max: '9' }, 'HW191'],
      [{ ...good, cron: undefined }, 'HW192'],
      [{ ...good, cron: 5 }, 'HW192'],
      [{ ...good, cron: '* * * *' }, 'HW192'],
      [{ ...good, cron: '* * * * * * *' }, 'HW192'],
      [{ ...good, cron: '? * * * *' }, 'HW192'],
      [{ ...good, cron: `${'1,'.repeat(200)}1 * * * *` }, 'HW192'],
      [{ ...good, cron: '@sometimes' }, 'HW192'],
      [{ ...good, zone: 'Nowhere/City' }, 'HW193'],
      [{ ...good, zone: '+02:00' }, 'HW193'],
      [{ ...good, queue: 'nowhere' }, 'HW001'],
      [{ ...good, queue: undefined }, 'HW001'],
      [{ ...good, priority: 101 }, 'HW012'],
      [{ ...good, headers: [] }, 'HW015'],
      [{ ...good, headers: 'text' }, 'HW015'],
      [{ ...good, payload: 'x'.repeat(2_000_000) }, 'HW011'],
      [{ ...good, headers: { big: 'x'.repeat(20_000) } }, 'HW015'],
    ];
    for (const [schedule, code, name = newName()] of cases) {
      const error = await sqlError(put(db, name, schedule));
      expect(error, JSON.stringify(schedule)?.slice(0, 200)).toMatchObject({ code });
      expect(error.hint, JSON.stringify(schedule)?.slice(0, 200)).toBeTruthy();
      expect(error.message.length).toBeLessThan(400);
    }
    expect(await sqlError(put(db, null, good))).toMatchObject({ code: 'HW191' });
    expect(await db.rows(`select from howdah._schedules where name like 'x%'`)).toEqual([]);
  });

  test('refuses an owner that is empty or too long, as sync_schedules does', async ({ db }) => {
    await db.createQueue('reports');
    for (const owner of ['', 'o'.repeat(201)]) {
      const made = put(db, 'owned', { cron: '* * * * *', queue: 'reports' }, owner);
      expect(await sqlError(made)).toMatchObject({ code: 'HW191' });
    }
  });

  test('leaves one of another owner alone', async ({ db }) => {
    const name = await newSchedule(db);
    const given = { cron: '* * * * *', queue: 'reports' };
    expect(await sqlError(put(db, name, given, 'app'))).toMatchObject({ code: 'HW194' });
    const declared = newName();
    await put(db, declared, given, 'app');
    expect(await sqlError(put(db, declared, given))).toMatchObject({ code: 'HW194' });
    expect(await put(db, declared, given, 'app')).toBe('unchanged');
  });
});

describe('sync_schedules', () => {
  const sync = (db: Engine, owner: string | null, ...list: object[]) =>
    db.rows('select * from howdah.sync_schedules($1, $2::text::jsonb)', [
      owner,
      JSON.stringify(list),
    ]);

  test('creates, changes, renames and removes its own, and nobody else’s', async ({ db }) => {
    const byHand = await newSchedule(db);
    const base = { cron: '* * * * *', queue: 'reports' };
    const [a, b, c, other] = [newName(), newName(), newName(), newName()];
    await sync(db, 'other', { ...base, name: other });
    expect(
      await sync(db, 'program', { ...base, name: a }, { ...base, name: b, payload: 'b' }),
    ).toEqual([
      { name: a, change: 'created' },
      { name: b, change: 'created' },
    ]);
    await db.rows('select howdah.pause_schedule($1)', [b]);
    // b is named c now; a has another expression
    const next = [
      { ...base, name: a, cron: '0 * * * *' },
      { ...base, name: c, payload: 'b' },
    ];
    expect(await sync(db, 'program', ...next)).toEqual([
      { name: a, change: 'changed' },
      { name: c, change: 'renamed' },
    ]);
    expect(await view(db, c)).toMatchObject({ paused: true, payload: 'b' });
    expect(await sync(db, 'program', ...next)).toEqual([
      { name: a, change: 'unchanged' },
      { name: c, change: 'unchanged' },
    ]);
    expect(await sync(db, 'program')).toEqual([
      { name: a, change: 'removed' },
      { name: c, change: 'removed' },
    ]);
    expect(await view(db, byHand)).toMatchObject({ name: byHand });
    expect(await view(db, other)).toMatchObject({ owner: 'other' });
  });

  test('is all or nothing', async ({ db }) => {
    const byHand = await newSchedule(db);
    const base = { cron: '* * * * *', queue: 'reports' };
    const [a, b] = [newName(), newName()];
    await sync(db, 'whole', { ...base, name: a });
    for (const [code, list] of [
      [
        'HW194',
        [
          { ...base, name: b },
          { ...base, name: b },
        ],
      ],
      ['HW194', [{ ...base, name: byHand }]],
      [
        'HW192',
        [
          { ...base, name: b },
          { ...base, name: newName(), cron: 'x' },
        ],
      ],
      ['HW191', [{ ...base }]],
      ['HW191', [5]],
    ] as const) {
      const error = await sqlError(sync(db, 'whole', ...(list as unknown as object[])));
      expect(error, JSON.stringify(list)).toMatchObject({ code });
    }
    expect(await sqlError(sync(db, null))).toMatchObject({ code: 'HW191' });
    const names = await db.rows(`select name from howdah._schedules where owner = 'whole'`);
    expect(names).toEqual([{ name: a }]);
  });
});

describe('fire_schedules', () => {
  test('without a schedule has nothing due, now or later', async ({ db }) => {
    await newSchedule(db);
    await db.rows('delete from howdah._schedules');
    const rows = await db.rows('select due, next_ms from howdah.due_schedules(2000)');
    expect(rows).toEqual([{ due: null, next_ms: null }]);
  });

  test('enqueues a job a nominal time, which knows it, and sets the next', async ({ db }) => {
    const name = await newSchedule(db, { payload: { n: 1 }, priority: 7 });
    const plan = await planOf(db, name, 1, 2);
    expect(await fire(db, plan)).toEqual({ planned: 1, enqueued: 2, refused: 0, skipped: 0 });
    expect(await jobsOf(db, name)).toEqual(
      plan.runs.map((ms) => ({
        at: new Date(ms).toISOString(),
        id: expect.any(String),
        payload: { n: 1 },
        priority: 7,
      })),
    );
    expect(await view(db, name)).toMatchObject({
      next_at: new Date(plan.next),
      after_at: new Date(plan.after),
      last_at: new Date(plan.after),
      last_outcome: 'enqueued',
      last_error: null,
      last_job_state: 'ready',
    });
  });

  test('passes over a plan that has been carried out, or was made before a change', async ({
    db,
  }) => {
    const name = await newSchedule(db);
    const plan = await planOf(db, name, 1);
    await fire(db, plan);
    expect(await fire(db, plan)).toMatchObject({ planned: 0, enqueued: 0 });
    await db.rows(`update howdah._schedules set due_at = howdah.clock() where name = $1`, [name]);
    const stale = await planOf(db, name, 1);
    await put(db, name, { cron: '0 0 * * *', queue: 'reports' });
    expect(await fire(db, stale)).toMatchObject({ planned: 0, enqueued: 0 });
    expect(await jobsOf(db, name)).toHaveLength(1);
  });

  test('never enqueues a nominal time twice, even if a plan names it again', async ({ db }) => {
    const name = await newSchedule(db);
    const plan = await planOf(db, name, 1);
    await fire(db, plan);
    await db.rows(`update howdah._schedules set due_at = howdah.clock() where name = $1`, [name]);
    const { revision } = (await dueOf(db, name)) as Due;
    expect(await fire(db, { ...plan, revision })).toMatchObject({ planned: 1, enqueued: 0 });
    expect(await jobsOf(db, name)).toHaveLength(1);
  });

  test('a job that is refused is tried again, or skipped where missed times are', async ({
    db,
  }) => {
    await db.createQueue('full', { max_depth: 1 });
    await db.enqueue('full', 1);
    for (const missed of ['once', 'skip']) {
      const name = newName();
      await put(db, name, { cron: '* * * * *', queue: 'full', missed });
      const plan = await planOf(db, name, 1);
      expect(await fire(db, plan)).toMatchObject({ enqueued: 0, refused: 1 });
      const { last_outcome, last_error, next_at } = await view(db, name);
      expect(last_outcome).toBe('refused');
      expect(last_error).toMatch(/^HOWDAH_QUEUE_FULL: .*1 are allowed/);
      expect(next_at).toEqual(new Date(missed === 'once' ? (plan.runs[0] as number) : plan.next));
    }
    const name = `s-${made - 1}`;
    await db.rows('select howdah.alter_queue($1, $2)', ['full', '{"max_depth": null}']);
    await db.rows('update howdah._schedules set due_at = howdah.clock() where name = $1', [name]);
    const plan = await planOf(db, name, 1);
    expect(await fire(db, plan)).toMatchObject({ enqueued: 1, refused: 0 });
    expect(await view(db, name)).toMatchObject({ last_outcome: 'enqueued', last_error: null });
    await db.expectTruth();
  });

  test('a closed or deleted queue, or an expression that is wrong, stops no other', async ({
    db,
  }) => {
    const good = await newSchedule(db);
    await db.createQueue('gone');
    await db.createQueue('closed');
    const [gone, closed, wrong] = [newName(), newName(), newName()];
    await put(db, gone, { cron: '* * * * *', queue: 'gone' });
    await put(db, closed, { cron: '* * * * *', queue: 'closed' });
    await put(db, wrong, { cron: '60 * * * *', queue: 'reports' });
    await db.rows(`select howdah.delete_queue('gone'), howdah.close_queue('closed', 'moved')`);
    const plans = [];
    for (const name of [gone, closed, good]) plans.push(await planOf(db, name, 1));
    plans.push({ ...(await planOf(db, wrong)), next: null, error: 'minute 60' });
    expect(await fire(db, ...plans)).toMatchObject({ planned: 4, enqueued: 1, refused: 2 });
    expect((await view(db, gone)).last_error).toMatch(/^HOWDAH_QUEUE_UNKNOWN: /);
    expect((await view(db, closed)).last_error).toMatch(/^HOWDAH_QUEUE_CLOSED: .*moved/);
    expect(await view(db, wrong)).toMatchObject({ error: 'minute 60', next_at: null });
    expect(await dueOf(db, wrong)).toBeUndefined();
    // given anew, it is looked at anew
    expect(await put(db, wrong, { cron: '60 * * * *', queue: 'reports' })).toBe('changed');
    expect(await dueOf(db, wrong)).toBeDefined();
    await db.expectTruth();
  });

  test('a job that the database itself refuses fails alone', async ({ db }) => {
    const [good, bad, other] = [
      await newSchedule(db),
      await newSchedule(db, { payload: 'poison', missed: 'skip' }),
      await newSchedule(db),
    ];
    await db.rows(`create function refuse_poison() returns trigger language plpgsql as $$
      begin raise exception 'no poison here'; end $$`);
    await db.rows(`create trigger refuse_poison before insert on howdah._jobs for each row
      when (new.payload = '"poison"') execute function refuse_poison()`);
    const plans = [];
    for (const name of [good, bad, other]) plans.push(await planOf(db, name, 1, 2));
    expect(await fire(db, ...plans)).toMatchObject({ planned: 3, enqueued: 4, refused: 2 });
    await db.rows('drop trigger refuse_poison on howdah._jobs');
    expect(await view(db, bad)).toMatchObject({ last_error: 'P0001: no poison here' });
    expect(await jobsOf(db, other)).toHaveLength(2);
    await db.expectTruth();
  });

  test('a dedupe key that is taken is a duplicate', async ({ db }) => {
    const name = await newSchedule(db, { dedupe: { key: 'one-at-a-time' } });
    expect(await fire(db, await planOf(db, name, 1, 2))).toMatchObject({ enqueued: 1 });
    expect(await view(db, name)).toMatchObject({ last_outcome: 'duplicate' });
    const outcomes = await db.rows(
      'select outcome from howdah.schedule_runs where name = $1 order by nominal_at',
      [name],
    );
    expect(outcomes).toEqual([{ outcome: 'enqueued' }, { outcome: 'duplicate' }]);
  });
});

describe('pause, resume, run, delete', () => {
  test('a paused schedule is not due; resumed, it makes up for nothing', async ({ db }) => {
    const name = await newSchedule(db);
    const stale = await planOf(db, name, 1);
    await db.rows('select howdah.pause_schedule($1, $2)', [name, 'holiday']);
    expect(await view(db, name)).toMatchObject({ paused: true, paused_reason: 'holiday' });
    expect(await dueOf(db, name)).toBeUndefined();
    expect(await fire(db, stale)).toMatchObject({ planned: 0 });
    await put(db, name, { cron: '*/2 * * * *', queue: 'reports' });
    expect(await view(db, name)).toMatchObject({ paused: true });
    const before = await db.one<Date>('select howdah.clock()');
    await db.rows('select howdah.resume_schedule($1)', [name]);
    const { after_at, paused } = await view(db, name);
    expect(paused).toBe(false);
    expect((after_at as Date).getTime()).toBeGreaterThanOrEqual(before.getTime());
    expect(await dueOf(db, name)).toBeDefined();
  });

  test('run_schedule enqueues now, paused or not, and moves no nominal time', async ({ db }) => {
    const name = await newSchedule(db, { payload: 'now' });
    await fire(db, await planOf(db, name));
    const { next_at } = await view(db, name);
    await db.rows('select howdah.pause_schedule($1)', [name]);
    const id = await db.one<string>('select howdah.run_schedule($1)', [name]);
    expect(await db.state(id)).toBe('ready');
    expect(await view(db, name)).toMatchObject({ last_job_id: id, last_outcome: 'enqueued' });
    expect(await db.one('select next_at from howdah._schedules where name = $1', [name])).toEqual(
      next_at,
    );
  });

  test('a deleted one is gone with its runs; a name that is not there is refused', async ({
    db,
  }) => {
    const name = await newSchedule(db);
    await fire(db, await planOf(db, name, 1));
    await db.rows('select howdah.delete_schedule($1)', [name]);
    expect(await db.rows('select from howdah._schedules where name = $1', [name])).toEqual([]);
    expect(await db.rows('select from howdah.schedule_runs where name = $1', [name])).toEqual([]);
    expect(await jobsOf(db, name)).toHaveLength(1);
    for (const verb of ['pause', 'resume', 'delete', 'run']) {
      for (const each of [name, null]) {
        expect(await sqlError(db.rows(`select howdah.${verb}_schedule($1)`, [each]))).toMatchObject(
          {
            code: 'HW195',
          },
        );
      }
    }
  });

  test('runs are forgotten after a day', async ({ db }) => {
    const name = await newSchedule(db);
    await fire(db, await planOf(db, name, 1));
    await db.rows(
      `update howdah._schedule_runs set decided_at = decided_at - interval '25 hours'
      where schedule_id = (select id from howdah._schedules where name = $1)`,
      [name],
    );
    expect(await db.one<number>('select howdah.prune_schedule_runs()')).toBeGreaterThan(0);
    expect(await db.rows('select from howdah.schedule_runs where name = $1', [name])).toEqual([]);
  });
});
