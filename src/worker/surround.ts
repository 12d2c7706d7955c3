import { type Layer, runLayers } from '../core/layers.js';
import type { AttemptMiddleware, NextAttempt } from './attempt-middleware.js';
import type { Around, Binding } from './binding.js';
import type { JobContext } from './job-context.js';

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
 * The handler is elsewhere: layers see null where it has returned, and an error where it has thrown. What
 * they return in its place, or throw, counts.
 */
function surroundFile(
  layers: readonly Layer<AttemptCall>[],
  around: Around = (_job, _context, run) => run(),
): Around {
  return async (job, context, run) => {
    let answer: unknown;
    const failed = new Error('the handler has thrown');
    const inner = async (): Promise<null> => {
      answer = await around(job, context, run);
      const { isThrown } = answer as { readonly isThrown: boolean };
      if (isThrown) throw failed;
      return null;
    };
    try {
      const value = await runLayers(layers, { input: job as never, context }, inner);
      return value === null && answer !== undefined ? answer : value;
    } catch (error) {
      if (error === failed) return answer;
      throw error;
    }
  };
}
