import { outcomeOf, PermanentError } from '../../core/job/outcome.js';
import { type Layer, runLayers } from '../../core/layers.js';
import type { AttemptMiddleware, NextAttempt } from '../handler/attempt-middleware.js';
import type { Around, Binding } from '../handler/binding.js';
import type { JobContext } from '../handler/job-context.js';
import type { RunAnswer } from '../isolation/messages.js';

interface AttemptCall {
  readonly input: never;
  readonly context: JobContext;
}

/** The binding with its handler surrounded; itself where there is no middleware. */
export function surround(binding: Binding, outer: readonly AttemptMiddleware[]): Binding {
  const all: readonly AttemptMiddleware<never>[] = [...outer, ...binding.middleware];
  if (all.length === 0) return binding;
  const layers = all.map(
    (middleware) =>
      ({ input, context }: AttemptCall, next: NextAttempt) =>
        middleware(input, context, () => next()),
  );
  if (binding.file) return { ...binding, around: surroundFile(layers, binding.around) };
  const handler = binding.handler as (input: never, context: JobContext) => unknown;
  const call = ({ input, context }: AttemptCall): unknown => handler(input, context);
  return {
    ...binding,
    handler: (input, context: JobContext) => runLayers(layers, { input, context }, call),
  };
}

/**
 * The handler is elsewhere: layers see what it has returned, or thrown, as it came over. Where they return
 * something in its place, or throw, that counts; else the answer itself.
 */
function surroundFile(
  layers: readonly Layer<AttemptCall>[],
  around: Around = (_job, _context, run) => run(),
): Around {
  return async (job, context, run) => {
    let answer: RunAnswer | undefined;
    let seen: unknown;
    const inner = async (): Promise<unknown> => {
      answer = (await around(job, context, run)) as RunAnswer;
      seen = answer.isThrown ? thrownBy(answer) : returnedBy(answer);
      if (answer.isThrown) throw seen;
      return seen;
    };
    try {
      const value = await runLayers(layers, { input: job as never, context }, inner);
      return answer?.isThrown === false && value === seen ? answer : value;
    } catch (error) {
      if (answer?.isThrown && error === seen) return answer;
      throw error;
    }
  };
}

/** Frozen where it is an object: who wants another result returns another. */
function returnedBy({ decision: { settlement } }: RunAnswer): unknown {
  if (settlement.verb !== 'complete') return outcomeOf(settlement);
  return settlement.result === undefined ? undefined : frozen(JSON.parse(settlement.result));
}

function thrownBy({ decision: { settlement } }: RunAnswer): unknown {
  const { verb, error } = settlement;
  if (!error) return outcomeOf(settlement);
  const { name, message, stack, code } = error;
  const made = verb === 'dead_letter' ? new PermanentError(message) : new Error(message);
  // of this thread it tells nothing
  Object.defineProperty(made, 'stack', { value: stack, configurable: true, writable: true });
  return Object.assign(made, code === undefined ? { name } : { name, code });
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const each of Object.values(value)) frozen(each);
    Object.freeze(value);
  }
  return value;
}
