import { describe, expect, test } from 'vitest';
import { checkMiddleware, type Layer, runLayers } from '../../../src/core/layers.js';

const INVALID = expect.objectContaining({ code: 'HOWDAH_MIDDLEWARE_INVALID' });
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Runs layers around a function that notes that it ran. */
function around(
  layers: readonly Layer<string>[],
  inner: (input: string) => unknown = () => 'done',
) {
  const ran: string[] = [];
  const result = runLayers(layers, 'in', (input) => {
    ran.push(input);
    return inner(input);
  });
  return { ran, result };
}

describe('layers', () => {
  test('the first is the outermost; each may change what goes down and what comes up', async () => {
    const { ran, result } = around(
      [
        async (input, next) => `a(${await next(`${input}-a`)})`,
        async (input, next) => `b(${await next(`${input}-b`)})`,
      ],
      () => 'x',
    );
    expect(await result).toBe('a(b(x))');
    expect(ran).toEqual(['in-a-b']);
  });

  test('one that returns nothing hands on the value', async () => {
    const { result } = around([async (_, next) => void (await next()), (_, next) => next()]);
    expect(await result).toBe('done');
  });

  test('one that swallows the error and returns nothing hands on the error', async () => {
    const swallow: Layer<string> = async (_, next) => {
      await next().catch(() => undefined);
    };
    const { result } = around([swallow], () => {
      throw new Error('from below');
    });
    await expect(result).rejects.toThrow('from below');
  });

  test('one that returns a value in place of an error has made a success of it', async () => {
    const { result } = around([(_, next) => next().catch(() => null)], () => Promise.reject('no'));
    expect(await result).toBeNull();
  });

  test('one that throws is seen by the one above', async () => {
    const { ran, result } = around([
      (_, next) => next().catch((error) => `saw ${error.message}`),
      () => {
        throw new Error('refused');
      },
    ]);
    expect(await result).toBe('saw refused');
    expect(ran).toEqual([]);
  });

  test('one that never calls next decides alone, or is at fault', async () => {
    expect(await around([() => 'short']).result).toBe('short');
    await expect(around([() => undefined]).result).rejects.toEqual(INVALID);
  });

  test('a second call of next is refused and runs nothing', async () => {
    const seen: unknown[] = [];
    const { ran, result } = around([
      async (_, next) => {
        await next();
        await next().catch((error) => seen.push(error));
      },
    ]);
    expect(await result).toBe('done');
    expect(seen).toEqual([INVALID]);
    expect(ran).toHaveLength(1);
    await expect(
      around([
        async (_, next) => {
          await next();
          await next();
        },
      ]).result,
    ).rejects.toEqual(INVALID);
  });

  test('a call of next that comes too late is refused, and nobody has to look at it', async () => {
    let late: (() => Promise<unknown>) | undefined;
    const { ran, result } = around([
      (_, next) => {
        late = next;
        return 'early';
      },
    ]);
    expect(await result).toBe('early');
    void late?.();
    await expect(late?.()).rejects.toEqual(INVALID);
    await turn();
    expect(ran).toEqual([]);
  });

  test('what is below is waited for, whether a layer returns or throws before', async () => {
    for (const end of [() => 'early', () => Promise.reject(new Error('early'))]) {
      let finish: (value: unknown) => void = () => {};
      const slow = new Promise((resolve) => {
        finish = resolve;
      });
      let isOver = false;
      const { result } = around(
        [
          (_, next) => {
            void next();
            return end();
          },
        ],
        () => slow,
      );
      const outcome = result
        .catch((error) => error.message)
        .finally(() => {
          isOver = true;
        });
      await turn();
      expect(isOver).toBe(false);
      finish('slow');
      expect(await outcome).toBe('early');
    }
  });
});

test('an option is an array of functions', () => {
  expect(checkMiddleware(undefined)).toEqual([]);
  for (const option of [() => 1, [1], 'x', null, [undefined]]) {
    expect(() => checkMiddleware(option as never)).toThrow(
      expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' }),
    );
  }
});
