import { monotonicMs, sleep } from './clock.js';
import { payload } from './payload.js';

/** `callers` loops beside each other, each takes the next number until `count` are taken. */
async function inLoops(callers, from, count, take) {
  let next = from;
  const loop = async () => {
    while (next < from + count) await take(next++);
  };
  const start = monotonicMs();
  await Promise.all(Array.from({ length: callers }, loop));
  return monotonicMs() - start;
}

/** Enqueues of which not each makes a job. Driven by the verb `try`. */
export const TRIES = {
  /** One job each of new keys, with pauses between. `ackedAt`: when each was committed. */
  async newKeys(contender, { from, count, gapMs }) {
    const ackedAt = [];
    for (let n = from; n < from + count; n++) {
      await contender.enqueueOne(payload(n), { ring: true, group: `new ${n}` });
      ackedAt.push(monotonicMs());
      await sleep(gapMs * (0.5 + Math.random()));
    }
    return { ackedAt };
  },

  /** All with one dedupe key. Resolves to the ids of jobs created, and of all that were answered. */
  async oneKey(contender, { from, count, callers, dedupe }) {
    const created = [];
    const answered = new Set();
    const elapsedMs = await inLoops(callers, from, count, async (n) => {
      const { id, created: isNew } = await contender.enqueueOne(payload(n), { dedupe });
      answered.add(id);
      if (isNew) created.push(id);
    });
    return { elapsedMs, created, answered: [...answered] };
  },

  /** Enqueues into a full queue: how many were refused as full. Any other error is thrown. */
  async refusals(contender, { from, count, callers }) {
    let refused = 0;
    const elapsedMs = await inLoops(callers, from, count, async (n) => {
      try {
        await contender.enqueueOne(payload(n));
      } catch (error) {
        if (error?.code !== 'HOWDAH_QUEUE_FULL') throw error;
        refused++;
      }
    });
    return { elapsedMs, refused };
  },
};
