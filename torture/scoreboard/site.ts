import path from 'node:path';
import { type Client, createClient, migrate } from 'howdah';
import pg from 'pg';
import { FaultProxy } from '../../test/support/fault-proxy.js';
import { waitFor } from '../../test/support/wait-for.js';
import type { ChildOptions } from '../child.js';
import type { Cluster } from '../cluster.js';
import { Hand, type HandEvent, type HandOptions } from './hand.js';
import type { Lab } from './lab.js';

/** What became of some jobs. */
export interface Tally {
  /** Acknowledged, and not completed in the end. */
  readonly lost: number;
  /** With more than one committed effect. */
  readonly doubled: number;
  /** Completed without their effect. */
  readonly missing: number;
}

const POLICY = {
  backoff: 'fixed',
  backoff_ms: 50,
  max_attempts: 1_000,
  max_crashes: 1_000,
  retention_ms: 7 * 86_400_000,
};

/** A database with the schema, and who works on it. */
export class Site {
  readonly lab: Lab;
  readonly url: string;
  readonly pool: pg.Pool;
  readonly hands: Hand[] = [];
  readonly #cluster: Cluster | undefined;
  readonly #dir: string;

  private constructor(lab: Lab, url: string, cluster: Cluster | undefined, dir: string) {
    this.lab = lab;
    this.url = url;
    this.#cluster = cluster;
    this.#dir = dir;
    this.pool = new pg.Pool({
      connectionString: url,
      max: 6,
      application_name: 'torture',
      connectionTimeoutMillis: 10_000,
    });
    this.pool.on('error', () => undefined);
    this.pool.on('connect', (client) => client.on('error', () => undefined));
  }

  static async prepare(lab: Lab, url: string, cluster?: Cluster): Promise<Site> {
    const site = Site.on(lab, url, await lab.folder(), cluster);
    await migrate({ url });
    await site.pool.query(`create table runs (job_id bigint, attempt int, pid int,
      at timestamptz default clock_timestamp())`);
    await site.pool.query('create table effects (job_id bigint, attempt int, pid int)');
    return site;
  }

  /** A database that has all of it already. @param dir for the logs of its workers */
  static on(lab: Lab, url: string, dir: string, cluster?: Cluster): Site {
    const site = new Site(lab, url, cluster, dir);
    lab.defer(() => site.#close());
    return site;
  }

  /** @throws Error where the server is not one of ours */
  get cluster(): Cluster {
    if (!this.#cluster) throw new Error('this site has no cluster of its own');
    return this.#cluster;
  }

  /** Jobs of it fail and crash as often as they like, unless the policy says otherwise. */
  async queue(name: string, policy: object = {}): Promise<string> {
    await this.pool.query('select howdah.create_queue($1, $2)', [name, { ...POLICY, ...policy }]);
    return name;
  }

  client(url = this.url, options: object = {}): Client {
    const client = createClient({ url, ...options });
    this.lab.defer(() => client.close());
    return client;
  }

  async proxy(): Promise<FaultProxy> {
    const proxy = await FaultProxy.start(this.url);
    this.lab.defer(() => proxy.stop());
    return proxy;
  }

  /** Starts a worker; does not wait for it. */
  hand(settings: Partial<HandOptions> & { queue: string }, options?: ChildOptions): Hand {
    const name = `w${this.hands.length + 1}`;
    const hand = new Hand(
      { url: this.url, effectsUrl: this.url, name, ...settings },
      path.join(this.#dir, `${name}.jsonl`),
      options,
    );
    this.hands.push(hand);
    return hand;
  }

  /** Starts so many and waits until they look for jobs. */
  async crew(size: number, options: Partial<HandOptions> & { queue: string }): Promise<Hand[]> {
    const hands = Array.from({ length: size }, () => this.hand(options));
    await Promise.all(hands.map((hand) => hand.heard('worker.started')));
    return hands;
  }

  /** Of everybody who ever worked here, oldest first. */
  get events(): HandEvent[] {
    return this.hands.flatMap((hand) => hand.events).sort((a, b) => a.at - b.at);
  }

  gate(): string {
    return path.join(this.#dir, `gate-${this.hands.length}-${this.lab.random.int(1, 2 ** 30)}`);
  }

  /** One statement, whatever the number. Returns their ids. */
  async enqueue(queue: string, payloads: readonly object[], options = {}): Promise<string[]> {
    const { rows } = await this.pool.query(
      'select id::text from howdah.enqueue($1::text::jsonb) order by ordinal',
      [JSON.stringify(payloads.map((payload) => ({ queue, payload, ...options })))],
    );
    return rows.map(({ id }) => id);
  }

  async value<T>(text: string, values: unknown[] = []): Promise<T> {
    const { rows } = await this.pool.query({ text, values, rowMode: 'array' });
    return rows[0]?.[0] as T;
  }

  runs(ids: readonly string[]): Promise<number> {
    return this.value('select count(*)::int from runs where job_id = any ($1)', [ids]);
  }

  /** Jobs that the worker holds now. */
  async heldBy({ pid }: Hand): Promise<string[]> {
    const { rows } = await this.pool.query(
      `select j.id::text from howdah._jobs j join howdah._leases l on l.id = j.lease_id
      where l.info ->> 'pid' = $1`,
      [String(pid)],
    );
    return rows.map(({ id }) => id);
  }

  /** Waits until nothing waits or runs; returns how many do once nothing has moved for so long. */
  async settled(stallMs = 30_000): Promise<number> {
    let best = Number.POSITIVE_INFINITY;
    let movedAt = performance.now();
    const left = (): Promise<number> =>
      this.value('select count(*)::int from howdah._jobs where dead_at is null');
    await waitFor(
      async () => {
        const now = await left().catch(() => best);
        if (now < best) [best, movedAt] = [now, performance.now()];
        return now === 0 || performance.now() - movedAt > stallMs;
      },
      { timeoutMs: 3_600_000, intervalMs: 100 },
    );
    return left();
  }

  /** Of jobs that were acknowledged and have an effect each. */
  async tally(ids: readonly string[], hasEffects = true): Promise<Tally> {
    const { rows } = await this.pool.query(
      `with done as (select job_id, count(*) as n from effects group by job_id),
      mine as (select i.id, j.state, coalesce(e.n, 0) as n from unnest($1::bigint[]) i (id)
        left join howdah.jobs j on j.id = i.id left join done e on e.job_id = i.id)
      select count(*) filter (where state is distinct from 'completed')::int as lost,
        count(*) filter (where n > 1)::int as doubled,
        count(*) filter (where state = 'completed' and n = 0)::int as missing from mine`,
      [ids],
    );
    const { lost, doubled, missing } = rows[0] as Tally;
    return { lost, doubled, missing: hasEffects ? missing : 0 };
  }

  /** Ends all workers in good order; returns how many had to be killed. */
  async dismiss(graceMs = 20_000): Promise<number> {
    let killed = 0;
    await Promise.all(
      this.hands.map(async (hand) => {
        if (!hand.isRunning) return;
        hand.kill('SIGCONT');
        hand.kill('SIGTERM');
        const late = setTimeout(() => {
          killed += 1;
          hand.kill('SIGKILL');
        }, graceMs);
        await hand.exited;
        clearTimeout(late);
      }),
    );
    return killed;
  }

  async #close(): Promise<void> {
    for (const hand of this.hands) if (hand.isRunning) await hand.end('SIGKILL');
    await this.pool.end();
  }
}
