import { HowdahError } from './errors.js';

/** One layer of middleware: does its part before and after `next`, which runs what is below. */
export type Layer<Input> = (
  input: Input,
  next: (changed?: Input) => Promise<unknown>,
) => unknown | Promise<unknown>;

/**
 * Runs layers around something, the first one outermost. A layer that returns undefined hands on what
 * `next` gave, value or error; any other value takes its place. So an error is never lost by mistake.
 *
 *   never calls next            allowed where it returns a value; else HOWDAH_MIDDLEWARE_INVALID
 *   calls next again, or late   that call rejects with HOWDAH_MIDDLEWARE_INVALID; nothing runs twice
 *   throws                      that is what the layer above sees
 *   does not wait for next      it is waited for: nothing ends before what it surrounds
 */
export async function runLayers<Input>(
  layers: readonly Layer<Input>[],
  input: Input,
  inner: (input: Input) => unknown,
  index = 0,
): Promise<unknown> {
  const layer = layers[index];
  if (!layer) return inner(input);
  let below: Promise<unknown> | undefined;
  let isOver = false;
  const next = (changed: Input = input): Promise<unknown> => {
    if (isOver || below) return refused(isOver);
    below = runLayers(layers, changed, inner, index + 1);
    return handled(below);
  };
  let returned: unknown;
  try {
    returned = await layer(input, next);
  } finally {
    isOver = true;
    await below?.catch(() => undefined);
  }
  if (returned !== undefined) return returned;
  if (below) return below;
  throw invalid('Middleware neither called next() nor returned anything.');
}

/** The same promise; nobody has to look at it. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

function refused(isOver: boolean): Promise<never> {
  const problem = isOver ? 'called next() after it had returned' : 'called next() twice';
  return handled(Promise.reject(invalid(`Middleware ${problem}.`)));
}

function invalid(message: string): HowdahError {
  return new HowdahError('HOWDAH_MIDDLEWARE_INVALID', message, {
    remedy: 'Call next() once, await it, and return what it gave or nothing.',
  });
}

/**
 * Middleware as an option gives it.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function checkMiddleware<M>(option: readonly M[] | undefined): readonly M[] {
  if (option === undefined) return [];
  if (Array.isArray(option) && option.every((each) => typeof each === 'function')) {
    return Object.freeze([...option]);
  }
  throw new HowdahError(
    'HOWDAH_OPTION_INVALID',
    'Option middleware is not an array of functions.',
    {
      details: { option: 'middleware' },
      remedy: 'Give [first, second]: the first is the outermost.',
    },
  );
}
