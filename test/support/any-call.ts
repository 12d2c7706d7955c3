import type { Random } from '../../torture/random.js';

/** Names that calls share, few enough that they meet. */
export const ANY_QUEUES = ['any-a', 'any-b', 'any-c'];
const GROUPS = ['g1', 'g2', 'g3', 'g4'];
const KEYS = ['k1', 'k2', 'k3', 'k4', 'k5'];

/** What a queue may be asked to become, key by key; null takes a bound away. */
const POLICIES: Record<string, readonly (number | null)[]> = {
  max_depth: [null, null, 30, 60],
  max_bytes: [null, null, 200, 600],
  concurrency_max: [null, null, 2, 5],
  rate_max: [null, null, null, 1000],
  breaker_failures: [null, null, 50],
  group_concurrency: [1, 1, 2, 4],
  group_rate_max: [null, null, 1000],
  retention_ms: [0, 86_400_000],
  delay_ms: [0, 0, 20],
  ttl_ms: [null, null, 50, 60_000],
  max_attempts: [1, 3],
  ageing_ms: [null, 1000],
};

export interface AnyCall {
  readonly name: string;
  readonly text: string;
  readonly values?: readonly unknown[];
}

/** Who calls: the lease under which it claims. */
export interface Caller {
  readonly lease: string;
}

const queueOf = (random: Random): string => random.pick(ANY_QUEUES);

/** Ids of some jobs, as the statement that takes them sees them. */
const some = (where: string, count: number): string =>
  `array(select j.id from howdah._jobs j where ${where} order by random() limit ${count})`;

function anyJob(random: Random, isDroppable: boolean): object {
  const when = random.pick([{}, {}, {}, { delay_ms: 20 }, { delay_ms: 60_000 }, { ttl_ms: 30 }]);
  const mode = random.pick(['skip', 'replace', 'throttle', 'latest']);
  return {
    queue: queueOf(random),
    payload: 'x'.repeat(random.int(0, 39)),
    ...when,
    ...(random.chance(0.2) && { priority: random.pick([-1, 1]) }),
    ...(random.chance(0.4) && { group: random.pick(GROUPS) }),
    ...(random.chance(0.4) && {
      dedupe: { key: random.pick(KEYS), mode, window_ms: random.pick([1, 200, 60_000]) },
    }),
    ...(isDroppable && random.chance(0.5) && { on_full: 'drop_oldest' }),
    ...(random.chance(0.1) && { weight: 2 }),
  };
}

const OUTCOMES = ['complete', 'complete', 'fail', 'snooze', 'release', 'rate_limited'];
const LATE_OUTCOMES = ['dead_letter', 'cancel', 'expire'];

/** Asks of a settle for jobs that the lease holds, each with an outcome drawn by the server. */
const asks = (lease: string, count: number, extra = ''): string =>
  `coalesce((select jsonb_agg(jsonb_build_object('id', h.id, 'attempt', h.attempt, ${extra}
    'delay_ms', 10, 'outcome', ('{${[...OUTCOMES, ...LATE_OUTCOMES].join(',')}}'::text[])[1 + floor(random() * 9)]))
    from (select * from howdah._jobs where lease_id ${lease} order by random() limit ${count}) h), '[]')`;

type Make = (random: Random, caller: Caller) => AnyCall;

const enqueue: Make = (random) => {
  const isDroppable = random.chance(0.6);
  const jobs = Array.from({ length: 1 + random.int(0, 4) }, () => anyJob(random, isDroppable));
  return {
    name: 'enqueue',
    text: `select count(*) from howdah.enqueue($1::jsonb, $2, $3)`,
    values: [JSON.stringify(jobs), random.pick(['raise', 'report', 'report']), random.chance(0.8)],
  };
};

const claim: Make = (random, { lease }) => ({
  name: 'claim_many',
  text: 'select count(*) from howdah.claim_many($1, $2, $3, p_turn => $4)',
  values: [queueOf(random), lease, 1 + random.int(0, 7), random.pick([1, 1, 4])],
});

const settle: Make = (random, { lease }) => ({
  name: 'settle',
  text: `select count(*) from howdah.settle($1, ${asks('= $1', 1 + random.int(0, 5))})`,
  values: [lease],
});

const completeMany: Make = (random, { lease }) => ({
  name: 'complete_many',
  text: `select count(c) from (select array_agg(id) as ids, array_agg(attempt) as attempts from (
      select id, attempt from howdah._jobs where lease_id = $1 and follow_seq is null order by random() limit $2) x) h
    cross join lateral howdah.complete_many($1, h.ids, h.attempts) c where h.ids is not null`,
  values: [lease, 1 + random.int(0, 5)],
});

const alterQueue: Make = (random) => {
  const keys = Object.keys(POLICIES).filter(() => random.chance(0.25));
  const policy = Object.fromEntries(keys.map((key) => [key, random.pick(POLICIES[key] ?? [])]));
  return {
    name: 'alter_queue',
    text: 'select howdah.alter_queue($1, $2)',
    values: [queueOf(random), JSON.stringify(policy)],
  };
};

/** A call without values, or of these that the name of a queue completes. */
const fixed =
  (name: string, text: string): Make =>
  (random) => ({
    name,
    text: text.replace('$queue', `'${queueOf(random)}'`),
  });

/** How often each is drawn. */
const CALLS: readonly (readonly [number, Make])[] = [
  [12, enqueue],
  [8, claim],
  [8, settle],
  [5, completeMany],
  [3, alterQueue],
  [3, fixed('cancel', `select count(*) from howdah.cancel(${some('true', 3)}, 'why')`)],
  [
    1,
    fixed('cancel_jobs', `select howdah.cancel_jobs('{"queue": "any-a", "group": "g1"}', null, 5)`),
  ],
  [3, fixed('run_now', `select count(*) from howdah.run_now(${some('true', 3)})`)],
  [
    3,
    fixed(
      'edit_job',
      `select howdah.edit_job(j.id, jsonb_build_object('payload', 'edited', 'priority', floor(random() * 3),
        'delay_ms', floor(random() * 2) * 30)) from (select id from howdah._jobs order by random() limit 1) j`,
    ),
  ],
  [2, fixed('redrive', `select count(*) from howdah.redrive('{}', 4)`)],
  [1, fixed('discard', `select count(*) from howdah.discard('{}', 2)`)],
  [2, fixed('receive', `select count(*) from howdah.receive($queue, 3, 100)`)],
  [
    2,
    fixed(
      'settle_received',
      `select count(*) from howdah.settle_received(${asks('in (select id from howdah._leases where held is not null)', 3, "'lease', h.lease_id,")})`,
    ),
  ],
  [
    // another language may claim under the lease that it has from receive()
    2,
    fixed(
      'claim under a pulled lease',
      `select count(*) from (select id from howdah._leases where held is not null order by id limit 1) l
        cross join lateral howdah.claim_many($queue, l.id, 2)`,
    ),
  ],
  [3, fixed('promote', 'select howdah.promote()')],
  [2, fixed('reap', 'select howdah.reap()')],
  [2, fixed('expire', 'select howdah.expire()')],
  [2, fixed('sweep', 'select howdah.sweep()')],
  [2, fixed('roll_up', 'select howdah.roll_up()')],
  [1, fixed('tend_queues', 'select howdah.tend_queues()')],
  [1, fixed('fold_batches', 'select howdah.fold_batches()')],
  [
    1,
    fixed(
      'pause_queue',
      `select howdah.pause_queue('any-*', null, clock_timestamp() + interval '20 ms')`,
    ),
  ],
  [1, fixed('resume_queue', `select howdah.resume_queue('any-*')`)],
  [1, fixed('close_queue', 'select howdah.close_queue($queue)')],
  [2, fixed('open_queue', `select howdah.open_queue('any-*')`)],
  [1, fixed('limit_queue', 'select howdah.limit_queue($queue, 10)')],
  [1, fixed('run_schedule', `select howdah.run_schedule('any')`)],
  [1, fixed('pause_schedule', `select howdah.pause_schedule('any')`)],
  [1, fixed('publish', `select howdah.publish('{"topic": "any", "payload": 1, "group": "g2"}')`)],
  [
    1,
    (_random, { lease }) => ({
      name: 'heartbeat',
      text: 'select howdah.heartbeat($1)',
      values: [lease],
    }),
  ],
  [
    1,
    (_random, { lease }) => ({
      name: 'return_strays',
      text: `select howdah.return_strays($1, ${some('j.lease_id = $1', 2)})`,
      values: [lease],
    }),
  ],
];
const TOTAL = CALLS.reduce((sum, [weight]) => sum + weight, 0);

/** A call of one public function, drawn at random. */
export function anyCall(random: Random, caller: Caller): AnyCall {
  let at = random.int(0, TOTAL - 1);
  for (const [weight, make] of CALLS) {
    if (at < weight) return make(random, caller);
    at -= weight;
  }
  throw new Error('not reached');
}

/** What the calls need to be there. */
export const ANY_SETUP = `
  select howdah.create_queue(q, '{"backoff_ms": 5}') from unnest(array['${ANY_QUEUES.join("','")}']) q;
  select howdah.subscribe('any', q) from unnest(array['${ANY_QUEUES.join("','")}']) q;
  select howdah.put_schedule('any', '{"cron": "0 3 * * *", "queue": "any-b", "group": "g3",
    "dedupe": {"key": "k1", "mode": "latest"}}');`;
