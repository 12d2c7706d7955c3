import { HowdahError } from 'howdah';
import type { Random } from '../../random.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const AT_ONCE = 64;
/** A busy machine takes its time. */
const STARTED_MS = 120_000;
const RUN_SHARE = 0.2;
/** Of `test/support/scripts/hostile-handlers.mjs`: those that end neither the process nor take for ever. */
const VERBS = [
  'throwsUndefined',
  'throwsNull',
  'throwsText',
  'throwsCycle',
  'throwsGetter',
  'throwsProxy',
  'throwsUnstorable',
  'returnsNul',
  'returnsLoneSurrogate',
  'returnsBigInt',
  'returnsCycle',
  'returnsFunction',
  'returnsDate',
  'returnsThrowingThenable',
  'returnsRejectingThenable',
  'rejectsLate',
];
const TEXTS = [
  '',
  '\u0000',
  '\ud800',
  '\udfff\ud800',
  '\u202e\ufeff\u2028',
  "'; drop table howdah._jobs; --",
  '"quoted"',
  '$1 $$ \\x00 \\',
  '%s %n {} #{x}',
  '🐘'.repeat(300),
  'x'.repeat(70_000),
  '__proto__',
  'constructor',
  '../../etc/passwd',
  'NaN',
  '1e400',
];

const ODD: readonly (() => unknown)[] = [
  () => null,
  () => undefined,
  () => true,
  () => 10n,
  () => Symbol('s'),
  () => () => 1,
  () => new Date(Number.NaN),
];

export const hostile: Subject = {
  name: 'hostile',
  figures: [
    {
      id: 'S21',
      figure: '100,000 hostile payloads, headers, keys, options, names, errors and results',
      target: '0 stuck, every refusal typed',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('hostile', { max_attempts: 2, backoff_ms: 1 });
    const client = site.client();
    const asked = lab.count(100_000 * (1 - RUN_SHARE), 400);
    const told = { accepted: 0, refused: 0, untyped: new Map<string, number>() };
    let next = 0;
    const caller = async (): Promise<void> => {
      while (next < asked) {
        next += 1;
        try {
          await ask(client, queue, lab.random);
          told.accepted += 1;
        } catch (error) {
          if (error instanceof HowdahError && error.code !== 'HOWDAH_DATABASE_ERROR')
            told.refused += 1;
          else note(told.untyped, error);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, caller));
    const run = lab.count(100_000 * RUN_SHARE, 100);
    const rejected = await enqueueHandlers(site, queue, run);
    const hand = site.hand({ queue, binding: { concurrency: 20 } });
    await hand.heard('worker.started', 1, STARTED_MS);
    const left = await site.settled();
    const isAlive = hand.isRunning;
    await site.dismiss();
    const untyped = [...told.untyped.values()].reduce((sum, n) => sum + n, 0);
    for (const [error, n] of told.untyped) lab.say(`${n} times: ${error}`);
    return [
      {
        measured: `${left} stuck, ${untyped} errors without a code of ours; ${told.accepted} calls accepted, ${told.refused} refused with a code; ${run - rejected} jobs with hostile errors or results ended, worker ${isAlive ? 'alive' : 'dead'}`,
        faults: told.refused + untyped + run - rejected,
        isMet: left === 0 && untyped === 0 && isAlive && told.refused > 0,
      },
    ];
  },
};

function note(untyped: Map<string, number>, error: unknown): void {
  const text = String(error).slice(0, 160);
  untyped.set(text, (untyped.get(text) ?? 0) + 1);
}

/** One call with at least one value that no caller should give. */
async function ask(
  client: ReturnType<Site['client']>,
  queue: string,
  random: Random,
): Promise<void> {
  const options: Record<string, unknown> = {};
  const places = ['headers', 'group', 'dedupe', 'delay', 'priority', 'attempts', 'runAt', 'weight'];
  for (const place of places) if (random.chance(0.15)) options[place] = valueFor(place, random);
  const name = random.chance(0.1) ? random.pick(TEXTS) : queue;
  await client.enqueue(name, value(random, 0) as never, options as never);
}

function valueFor(place: string, random: Random): unknown {
  if (place === 'headers') return { [random.pick(TEXTS)]: value(random, 2) };
  if (place === 'dedupe') return { key: random.pick(TEXTS), window: '1s' };
  if (place === 'group') return random.pick(TEXTS);
  return value(random, 2);
}

/** Anything at all, nested at most three deep. */
function value(random: Random, depth: number): unknown {
  const makers: (() => unknown)[] = [
    () => random.pick(TEXTS),
    () => random.pick([Number.NaN, Infinity, -0, 1e308, -1, 2 ** 53, 0.1]),
    () => random.pick(ODD)(),
    () => new Map([[1, 2]]),
    () => cyclic(),
  ];
  if (depth < 3)
    makers.push(
      () => Array.from({ length: random.int(0, 3) }, () => value(random, depth + 1)),
      () => ({ [random.pick(TEXTS)]: value(random, depth + 1) }),
    );
  return random.pick(makers)();
}

function cyclic(): object {
  const object: Record<string, unknown> = {};
  object.self = object;
  return object;
}

/** Returns how many were refused at the enqueue: none should be. */
async function enqueueHandlers(site: Site, queue: string, count: number): Promise<number> {
  const ids: string[] = [];
  for (let sent = 0; sent < count; sent += 1_000) {
    const size = Math.min(1_000, count - sent);
    const payloads = Array.from({ length: size }, (_, i) => {
      const verb = VERBS[(sent + i) % VERBS.length];
      return { do: verb, again: verb, isQuiet: true };
    });
    ids.push(...(await site.enqueue(queue, payloads)));
  }
  return count - ids.length;
}
