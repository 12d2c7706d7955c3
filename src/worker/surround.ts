import { runLayers } from '../core/layers.js';
import type { AttemptMiddleware, NextAttempt } from './attempt-middleware.js';
import type { Binding } from './binding.js';
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
  const handler = binding.handler as (input: never, context: JobContext) => unknown;
  const call = ({ input, context }: AttemptCall): unknown => handler(input, context);
  return {
    ...binding,
    handler: (input, context: JobContext) => runLayers(layers, { input, context }, call),
  };
}
