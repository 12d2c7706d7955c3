import type { Operation, WorkerLine } from '../logs.js';
import type { EffectRow, Evidence, JobRow } from './evidence.js';

/** What must hold whatever happened. Each problem found is a sentence that names a job. */
export interface Check {
  readonly name: string;
  find(evidence: Evidence): string[];
}

/** Of jobs that never succeed. */
const ATTEMPTS = 3;
/** `clock_timestamp()` of the enqueue and of the effect are of one clock; this is for rounding. */
const ROUNDING_MS = 1;

const isPoison = ({ verb }: { readonly verb: string }): boolean =>
  verb === 'poison' || verb === 'exit';

const all = ({ operations }: Evidence): Operation[] => operations.flat();

function byNumber(jobs: readonly JobRow[]): Map<number, JobRow[]> {
  const map = new Map<number, JobRow[]>();
  for (const job of jobs) map.set(job.n, [...(map.get(job.n) ?? []), job]);
  return map;
}

function effectsOf({ effects }: Evidence): Map<string, EffectRow[]> {
  const map = new Map<string, EffectRow[]>();
  for (const effect of effects) map.set(effect.job_id, [...(map.get(effect.job_id) ?? []), effect]);
  return map;
}

const acknowledged: Check = {
  name: 'every acknowledged job is there, under its id',
  find(evidence) {
    const jobs = byNumber(evidence.jobs);
    const ids = new Set(evidence.jobs.map(({ id }) => id));
    return all(evidence)
      .filter(({ end, op }) => end === 'ok' && op !== 'rollback')
      .flatMap(({ op, ns, id }) =>
        op === 'dedupe'
          ? ids.has(id ?? '')
            ? []
            : [`dedupe ${ns[0]} was told id ${id}, which is not there`]
          : ns
              .filter((n) => !jobs.get(n)?.some((job) => id === undefined || job.id === id))
              .map((n) => `${op} ${n} was acknowledged as ${id}, and is lost`),
      );
  },
};

const noPhantoms: Check = {
  name: 'no job is there twice, none that was rolled back, none that nobody sent',
  find(evidence) {
    const sent = new Map(all(evidence).flatMap((each) => each.ns.map((n) => [n, each] as const)));
    return [...byNumber(evidence.jobs)].flatMap(([n, jobs]) => {
      if (n < 0) return [];
      const operation = sent.get(n);
      if (!operation) return [`job ${jobs[0]?.id} carries number ${n}, which nobody sent`];
      if (operation.op === 'rollback') return [`job ${jobs[0]?.id} (${n}) was rolled back`];
      return jobs.length > 1 ? [`${operation.op} ${n} is there ${jobs.length} times`] : [];
    });
  },
};

const atomic: Check = {
  name: 'a job is there exactly if the row is that was written beside it',
  find(evidence) {
    const jobs = byNumber(evidence.jobs);
    return all(evidence)
      .filter(({ op }) => op === 'commit' || op === 'rollback')
      .flatMap(({ ns: [n = 0] }) =>
        evidence.orders.has(n) === jobs.has(n)
          ? []
          : [`${n}: row ${evidence.orders.has(n)}, job ${jobs.has(n)}`],
      );
  },
};

const ended: Check = {
  name: 'every job has ended: completed, or dead where it is poison',
  find: ({ jobs }) =>
    jobs
      .filter(({ state, verb }) => state !== (isPoison({ verb }) ? 'dead' : 'completed'))
      .map(({ id, n, state, verb }) => `job ${id} (${n}, ${verb}) is ${state}`),
};

const effectsOnce: Check = {
  name: 'the effect of completeIn() is there exactly once',
  find(evidence) {
    const effects = effectsOf(evidence);
    const known = new Set(evidence.jobs.map(({ id }) => id));
    const wrong = evidence.jobs.flatMap(({ id, n, state, queue }) => {
      const count = effects.get(id)?.length ?? 0;
      const due = state === 'completed' && (queue === 'effects' || queue === 'groups') ? 1 : 0;
      return count === due ? [] : [`job ${id} (${n}, ${queue}, ${state}) has ${count} effects`];
    });
    const orphans = [...effects.keys()].filter((id) => !known.has(id));
    return [...wrong, ...orphans.map((id) => `effect of job ${id}, which is not there`)];
  },
};

const completedOnce: Check = {
  name: 'no two workers were told that they completed the same job',
  find({ jobs, lines }) {
    const queues = new Map(jobs.map(({ id, queue }) => [id, queue] as const));
    const by = new Map<string, string[]>();
    for (const { type, id, worker } of lines) {
      if (type === 'job.completed' && id) by.set(id, [...(by.get(id) ?? []), worker]);
    }
    return [...by]
      .filter(([, workers]) => workers.length > 1)
      .map(
        ([id, workers]) =>
          `job ${id} (${queues.get(id)}) was completed by ${workers.join(' and ')}`,
      );
  },
};

const groupOrder: Check = {
  name: 'members of a group take effect in the order in which they were acknowledged',
  find(evidence) {
    const place = new Map(evidence.effects.map(({ n }, i) => [n, i] as const));
    return evidence.operations.flatMap((operations) => {
      const groups = new Map<string, Operation[]>();
      for (const each of operations) {
        if (each.op !== 'group' || !each.group || !place.has(each.ns[0] ?? 0)) continue;
        groups.set(each.group, [...(groups.get(each.group) ?? []), each]);
      }
      return [...groups].flatMap(([group, members]) => outOfOrder(group, members, place));
    });
  },
};

/** Only what was acknowledged before the next was sent has an order that anybody may rely on. */
function outOfOrder(
  group: string,
  members: readonly Operation[],
  place: ReadonlyMap<number, number>,
): string[] {
  const problems: string[] = [];
  let before: Operation | undefined;
  for (const member of members) {
    const [n = 0] = member.ns;
    const [earlier = 0] = before?.ns ?? [];
    const isAfter = before?.end === 'ok' && (before.endedAt ?? Infinity) < member.sentAt;
    if (isAfter && (place.get(earlier) ?? 0) > (place.get(n) ?? 0)) {
      problems.push(`group ${group}: ${n} took effect before ${earlier}`);
    }
    if (member.end === 'ok') before = member;
  }
  return problems;
}

const dedupe: Check = {
  name: 'one job a dedupe key, and everybody is told the same id',
  find(evidence) {
    const keys = new Map<string, Operation[]>();
    for (const each of all(evidence)) {
      if (each.op === 'dedupe' && each.key)
        keys.set(each.key, [...(keys.get(each.key) ?? []), each]);
    }
    const jobs = byNumber(evidence.jobs);
    return [...keys].flatMap(([key, operations]) => {
      const made = operations.filter(({ ns: [n = 0] }) => jobs.has(n)).length;
      const told = operations.filter(({ end }) => end === 'ok');
      const ids = new Set(told.map(({ id }) => id));
      const created = told.filter((each) => each.created).length;
      return [
        ...(made > 1 || (made === 0 && told.length > 0) ? [`key ${key} has ${made} jobs`] : []),
        ...(ids.size > 1 ? [`key ${key}: told ids ${[...ids].join(', ')}`] : []),
        ...(created > 1 ? [`key ${key}: ${created} were told that theirs is the new one`] : []),
      ];
    });
  },
};

const notEarly: Check = {
  name: 'no delayed job took effect before it was due',
  find(evidence) {
    const effects = effectsOf(evidence);
    return evidence.jobs.flatMap(({ id, delay_ms, enqueued_ms }) => {
      const [effect] = effects.get(id) ?? [];
      if (delay_ms === null || !effect) return [];
      const early = enqueued_ms + delay_ms - effect.at_ms;
      return early > ROUNDING_MS ? [`job ${id} was ${Math.round(early)} ms early`] : [];
    });
  },
};

const attemptsBound: Check = {
  name: 'dead letters are complete: each has its errors, and no attempt was one too many',
  find({ jobs, lines }) {
    const runs = new Map<string, number>();
    for (const { type, id } of lines) {
      if (type === 'run' && id) runs.set(id, (runs.get(id) ?? 0) + 1);
    }
    return jobs.filter(isPoison).flatMap(({ id, thrown, verb }) => {
      const count = runs.get(id) ?? 0;
      // an attempt that another job has cost it is given once more
      if (verb === 'exit') return count > ATTEMPTS ? [`job ${id} ended ${count} workers`] : [];
      const isRight = thrown >= 1 && thrown <= ATTEMPTS;
      return isRight ? [] : [`dead job ${id} has thrown ${thrown} times`];
    });
  },
};

const lastAttempt: Check = {
  name: 'a job is completed by its last attempt, never by one that was overtaken',
  find(evidence) {
    const jobs = new Map(evidence.jobs.map((job) => [job.id, job] as const));
    const stale = (id: string, attempt: number | undefined, by: string): string[] => {
      const last = jobs.get(id)?.attempt;
      return last === undefined || last === attempt
        ? []
        : [`job ${id} was completed by ${by} in attempt ${attempt} of ${last}`];
    };
    return [
      ...evidence.effects.flatMap((each) => stale(each.job_id, each.attempt, each.worker)),
      ...evidence.lines
        .filter(({ type }) => type === 'job.completed')
        .flatMap(({ id, attempt, worker }) => stale(id ?? '', attempt, worker)),
    ];
  },
};

/**
 * Not of those that completeIn() has completed: when its commit is not known, asking again is right. Attempts
 * given back do not count, so that the next has the number of this one: who had it last tells them apart.
 */
const noFalseRefusal: Check = {
  name: 'whoever has the last attempt of a job is not refused',
  find({ jobs, lines }) {
    const last = new Map(
      jobs
        .filter(({ state, queue }) => state === 'completed' && queue === 'notes')
        .map(({ id, attempt, worker }) => [id, `${attempt} ${worker}`]),
    );
    const isLast = ({ id, attempt, worker }: WorkerLine): boolean =>
      last.get(id ?? '') === `${attempt} ${worker}`;
    const told = new Set(
      lines.filter((line) => line.type === 'job.completed' && isLast(line)).map(({ id }) => id),
    );
    return lines
      .filter(({ type, outcome }) => type === 'job.stale' && outcome === 'complete')
      .filter((line) => !line.isUncertain && isLast(line) && !told.has(line.id))
      .map(({ id, attempt, worker }) => `job ${id}: ${worker} was refused in attempt ${attempt}`);
  },
};

const counters: Check = {
  name: 'counters are what the rows say',
  find: (evidence) => evidence.counters.map((row) => JSON.stringify(row)),
};

const books: Check = {
  name: 'whatever is counted apart is what the rows say',
  find: (evidence) => evidence.books.map((row) => JSON.stringify(row)),
};

export const CHECKS: readonly Check[] = [
  acknowledged,
  noPhantoms,
  atomic,
  ended,
  effectsOnce,
  completedOnce,
  groupOrder,
  dedupe,
  notEarly,
  attemptsBound,
  lastAttempt,
  noFalseRefusal,
  counters,
  books,
];
