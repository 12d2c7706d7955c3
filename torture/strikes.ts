import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../test/support/wait-for.js';
import { type Field, type Nemesis, proxiesOf, Violation } from './nemeses/nemesis.js';

/** Acknowledged calls that show that the producers are under way. */
const BUSY_CALLS = 30;

export interface StrikeOptions {
  readonly nemeses: readonly Nemesis[];
  readonly seconds: number;
  readonly log: (line: string) => void;
}

export interface Strike {
  readonly nemesis: string;
  /** What shows that it hit; undefined when it did not. */
  readonly evidence: string | undefined;
  /** What was not borne as promised while it lasted. */
  readonly violation?: string;
}

/** Strikes one after another, in an order of chance, for so long; not at all where no nemesis can act here. */
export async function strikeFor(
  field: Field,
  { nemeses, seconds, log }: StrikeOptions,
): Promise<Strike[]> {
  const strikes: Strike[] = [];
  await atWork(field);
  const begun = performance.now();
  const isOver = (): boolean => performance.now() - begun > seconds * 1_000;
  const able = nemeses.filter((nemesis) => {
    const why = nemesis.unable?.(field);
    if (why) log(`  ${nemesis.name} is left out: ${why}`);
    return !why;
  });
  while (able.length > 0 && !isOver()) {
    for (const nemesis of field.random.shuffle(able)) {
      if (isOver()) break;
      const { evidence, violation } = await strikeOnce(field, nemesis, log);
      strikes.push({ nemesis: nemesis.name, evidence, ...(violation && { violation }) });
      const at = ((performance.now() - begun) / 1_000).toFixed(1).padStart(6);
      log(`  ${at} s  ${nemesis.name.padEnd(18)} ${violation ?? evidence ?? 'did not hit'}`);
      await field.cluster.ready();
      await sleep(field.random.int(200, 1_200));
    }
  }
  return strikes;
}

async function strikeOnce(
  field: Field,
  nemesis: Nemesis,
  log: StrikeOptions['log'],
): Promise<{ evidence?: string | undefined; violation?: string }> {
  try {
    return { evidence: await nemesis.strike(field) };
  } catch (error) {
    if (error instanceof Violation) return { evidence: 'hit', violation: error.message };
    return { evidence: await failed(field, error as Error, log) };
  }
}

/** A fault before anybody works shows nothing. */
async function atWork({ crowd, fleet }: Field): Promise<void> {
  const isBusy = (): boolean =>
    crowd.acknowledged >= BUSY_CALLS &&
    fleet.members.every((member) =>
      fleet.linesOf(member).some(({ type }) => type === 'job.completed'),
    );
  await waitFor(isBusy, { timeoutMs: 120_000, what: 'producers and workers to be at work' });
}

/** A strike that fails has hit nothing; what it was about to heal is healed. */
async function failed(field: Field, error: Error, log: StrikeOptions['log']): Promise<undefined> {
  log(`            ${error.message}`);
  field.disk?.free();
  for (const proxy of proxiesOf(field)) proxy.heal(field.cluster.url);
  if (await field.cluster.hasEnded(0)) await field.cluster.restart();
  await field.cluster.forgetStandby().catch(() => undefined);
}
