import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Lab } from './lab.js';
import type { Site } from './site.js';

/** Who acts in the small model. */
export type Actor = 'first' | 'second' | 'reaper';

/** What each does, in its order; a schedule says whose turn it is. */
export const STEPS: Readonly<Record<Actor, readonly string[]>> = {
  first: ['claim', 'begin and settle', 'commit'],
  second: ['claim', 'settle'],
  reaper: ['expire', 'begin and reap', 'commit'],
};

const LOOK_MS = 2;
const LEASE_LOST = 'HW020';

/** All orders in which the steps can come: 8! / (3! 2! 3!) = 560. */
export function schedules(): Actor[][] {
  const left = Object.entries(STEPS).map(([actor, steps]) => [actor, steps.length] as const);
  const extend = (rest: ReadonlyMap<Actor, number>): Actor[][] => {
    if ([...rest.values()].every((n) => n === 0)) return [[]];
    return [...rest].flatMap(([actor, n]) =>
      n === 0 ? [] : extend(new Map(rest).set(actor, n - 1)).map((tail) => [actor, ...tail]),
    );
  };
  return extend(new Map(left as [Actor, number][]));
}

interface Session {
  readonly client: pg.Client;
  readonly pid: number;
  lease: string;
  /** The attempt that it has claimed. */
  attempt: number | undefined;
  /** Steps that it has begun. */
  steps: number;
  /** Under way; undefined when it may go on. */
  pending: Promise<void> | undefined;
}

/** One job, two workers and a reaper, on real sessions. */
export class Model {
  readonly #site: Site;
  readonly #sessions: Record<Actor, Session>;
  #queue = '';
  #job = '';
  #claims = 0;
  #accepted = 0;
  #isExpired = false;
  /** Which of the two ways to complete the first worker takes; the second one takes the other. */
  #isFirstMany = true;
  #problems: string[] = [];

  private constructor(site: Site, sessions: Record<Actor, Session>) {
    this.#site = site;
    this.#sessions = sessions;
  }

  static async open(lab: Lab, site: Site): Promise<Model> {
    const [first, second, reaper] = await Promise.all([1, 2, 3].map(() => session(lab, site)));
    return new Model(site, { first, second, reaper } as Record<Actor, Session>);
  }

  /**
   * Plays one schedule; returns what is wrong at its end. In one of an odd number the workers complete
   * the other way: there are two.
   */
  async play(schedule: readonly Actor[], number: number): Promise<string[]> {
    await this.#begin(number);
    const waiting = [...schedule];
    while (waiting.length > 0) {
      const next = waiting.findIndex((actor) => !this.#sessions[actor].pending);
      if (next < 0) await Promise.race(this.#pendings());
      else await this.#step(waiting.splice(next, 1)[0] as Actor);
    }
    await Promise.all(this.#pendings());
    await this.#finish();
    return this.#problems;
  }

  #pendings(): Promise<void>[] {
    return Object.values(this.#sessions).flatMap(({ pending }) => pending ?? []);
  }

  async #begin(number: number): Promise<void> {
    [this.#claims, this.#accepted, this.#isExpired, this.#problems] = [0, 0, false, []];
    this.#isFirstMany = number % 2 === 0;
    this.#queue = await this.#site.queue(`model-${number}`, { backoff_ms: 0, backoff_jitter: 0 });
    [this.#job = ''] = await this.#site.enqueue(this.#queue, [{}]);
    for (const each of Object.values(this.#sessions)) {
      const { rows } = await each.client.query("select howdah.open_lease('model', 3600000) as id");
      Object.assign(each, { lease: rows[0].id, attempt: undefined, steps: 0 });
    }
  }

  /** Begins a step, and returns when it is done or waits for somebody's lock. */
  async #step(actor: Actor): Promise<void> {
    const own = this.#sessions[actor];
    const what = STEPS[actor][own.steps] as string;
    own.steps += 1;
    const done = this.#act(own, actor, what)
      .catch((error: Error) => void this.#problems.push(`an error: ${error.message}`))
      .finally(() => {
        own.pending = undefined;
      });
    own.pending = done;
    await Promise.race([done, sleep(LOOK_MS * 5)]);
    for (;;) {
      if (own.pending === undefined || (await this.#isBlocked(own))) return;
      await sleep(LOOK_MS);
    }
  }

  #isBlocked({ pid }: Session): Promise<boolean> {
    return this.#site.value('select cardinality(pg_blocking_pids($1)) > 0', [pid]);
  }

  async #act(own: Session, actor: Actor, what: string): Promise<void> {
    const { client } = own;
    if (what.startsWith('begin')) await client.query('begin');
    if (what.endsWith('claim')) await this.#claim(own);
    if (what.endsWith('settle')) await this.#settle(own, (actor === 'first') === this.#isFirstMany);
    if (what === 'expire') {
      await client.query(
        "update howdah._leases set expires_at = howdah.clock() - interval '1 s' where id = $1",
        [this.#sessions.first.lease],
      );
      this.#isExpired = true;
    }
    if (what.endsWith('reap')) await this.#reap(client);
    if (what === 'commit') await client.query('commit');
  }

  async #claim(own: Session): Promise<void> {
    const text = 'select attempt from howdah.claim($1, $2, 1, $3, $4)';
    const { rows } = await own.client
      .query(text, [this.#queue, own.lease, [], []])
      .catch((error) => {
        // its lease has ended, and it is told so
        if (error.code === LEASE_LOST) return { rows: [] };
        throw error;
      });
    if (!rows[0]) return;
    own.attempt = rows[0].attempt;
    this.#claims += 1;
  }

  /** By complete_many() or by settle(): both are fenced by themselves. */
  async #settle(own: Session, isMany: boolean): Promise<void> {
    if (own.attempt === undefined) return;
    const { rows } = isMany
      ? await own.client.query(
          'select stale::text from howdah.complete_many($1::bigint, $2::bigint[], $3::integer[]) stale',
          [own.lease, [this.#job], [own.attempt]],
        )
      : await own.client.query('select outcome from howdah.settle($1, $2::text::jsonb)', [
          own.lease,
          JSON.stringify([{ id: this.#job, attempt: own.attempt, outcome: 'complete' }]),
        ]);
    const isAccepted = isMany ? rows.length === 0 : rows[0]?.outcome !== 'stale';
    const isAlive = own !== this.#sessions.first || !this.#isExpired;
    if (!isAccepted && isAlive) this.#problems.push('the settle of a living worker was refused');
    if (!isAccepted) return;
    this.#accepted += 1;
    if (own.attempt !== this.#claims)
      this.#problems.push(`attempt ${own.attempt} of ${this.#claims} was accepted`);
  }

  async #reap(client: pg.Client): Promise<void> {
    const { rows } = await client.query('select requeued + dead as jobs from howdah.reap(1000)');
    if (rows[0].jobs > 0 && !this.#isExpired)
      this.#problems.push('a job of a living worker was reaped');
  }

  /** Everybody dies; then the job has to be completed by whoever claims it next, or was before. */
  async #finish(): Promise<void> {
    const { pool } = this.#site;
    const leases = Object.values(this.#sessions).map(({ lease }) => lease);
    await pool.query(
      "update howdah._leases set expires_at = howdah.clock() - interval '1 s' where id = any ($1)",
      [leases],
    );
    this.#isExpired = true;
    await pool.query('select * from howdah.reap(1000)');
    const { second } = this.#sessions;
    const { rows } = await pool.query("select howdah.open_lease('last', 3600000) as id");
    Object.assign(second, { lease: rows[0].id, attempt: undefined });
    await this.#claim(second);
    await this.#settle(second, false);
    await pool.query('select howdah.close_lease($1)', [rows[0].id]);
    await this.#judge();
  }

  async #judge(): Promise<void> {
    const { rows } = await this.#site.pool.query(
      'select state, attempt from howdah.jobs where id = $1',
      [this.#job],
    );
    const ends = rows.map(({ state, attempt }) => `${state} in attempt ${attempt}`).join(', ');
    if (this.#accepted !== 1) this.#problems.push(`${this.#accepted} settles were accepted`);
    if (ends !== `completed in attempt ${this.#claims}`)
      this.#problems.push(`after ${this.#claims} claims it is ${ends || 'nowhere'}`);
  }
}

async function session(lab: Lab, site: Site): Promise<Session> {
  const client = new pg.Client({ connectionString: site.url });
  await client.connect();
  lab.defer(() => client.end());
  const { rows } = await client.query('select pg_backend_pid() as pid');
  return { client, pid: rows[0].pid, lease: '', attempt: undefined, steps: 0, pending: undefined };
}
