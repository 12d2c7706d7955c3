import { describe, expect, test } from 'vitest';
import { Batcher, type BatcherOptions, type Settled } from '../../../../src/core/time/batcher.js';

/** A flush that is answered by hand. */
function manual(options: Partial<BatcherOptions<string, string>> = {}) {
  const flushed: string[][] = [];
  const answers: ((results?: readonly Settled<string>[] | Error) => void)[] = [];
  const batcher = new Batcher<string, string>({
    itemsMax: 3,
    sizeMax: 100,
    flushesMax: 1,
    waitingMax: 5,
    waitingSizeMax: 200,
    refuse: (waiting) => new Error(`full: ${waiting}`),
    defer: queueMicrotask,
    flush: (items) =>
      new Promise((resolve, reject) => {
        flushed.push([...items]);
        answers.push((results) =>
          results instanceof Error
            ? reject(results)
            : resolve(results ?? items.map((item) => ({ value: item.toUpperCase() }))),
        );
      }),
    ...options,
  });
  return {
    batcher,
    flushed,
    answer: (i: number, results?: Settled<string>[] | Error) => answers[i](results),
  };
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('Batcher', () => {
  test('calls of one moment share a batch, later ones wait for it', async () => {
    const { batcher, flushed, answer } = manual();
    const first = [batcher.add('a', 1), batcher.add('b', 1)];
    await tick();
    const later = [batcher.add('c', 1), batcher.add('d', 1)];
    await tick();
    expect(flushed).toEqual([['a', 'b']]);
    answer(0);
    expect(await Promise.all(first)).toEqual(['A', 'B']);
    await tick();
    expect(flushed).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    answer(1);
    expect(await Promise.all(later)).toEqual(['C', 'D']);
  });

  test('each caller gets its own result or its own error', async () => {
    const { batcher, answer } = manual();
    const calls = [batcher.add('a', 1), batcher.add('b', 1), batcher.add('c', 1)];
    await tick();
    answer(0, [{ value: 'A' }, { error: new Error('bad b') }]);
    const settled = await Promise.allSettled(calls);
    expect(settled[0]).toEqual({ status: 'fulfilled', value: 'A' });
    expect(settled[1]).toMatchObject({ status: 'rejected', reason: { message: 'bad b' } });
    expect(settled[2]).toMatchObject({ reason: { message: 'the batch answered 2 of 3 items' } });
  });

  test('a failed batch fails its own callers only', async () => {
    const { batcher, answer } = manual({ itemsMax: 1, flushesMax: 2 });
    const calls = [batcher.add('a', 1), batcher.add('b', 1)];
    await tick();
    answer(0, new Error('down'));
    answer(1);
    expect(await Promise.allSettled(calls)).toMatchObject([
      { reason: { message: 'down' } },
      { value: 'B' },
    ]);
  });

  test('cuts batches by count and by size; a large item goes alone', async () => {
    const { batcher, flushed, answer } = manual({ waitingMax: 10, waitingSizeMax: 1000 });
    const calls = ['a', 'b', 'c', 'd'].map((item) => batcher.add(item, 1));
    calls.push(batcher.add('big', 150), batcher.add('e', 60), batcher.add('f', 60));
    for (let i = 0; i < 5; i++) {
      await tick();
      answer(i);
    }
    await Promise.all(calls);
    expect(flushed).toEqual([['a', 'b', 'c'], ['d'], ['big'], ['e'], ['f']]);
  });

  test('refuses an item that finds the waiting room full, by count or size', async () => {
    const { batcher, answer } = manual({ flushesMax: 1, waitingMax: 2, waitingSizeMax: 50 });
    const a = batcher.add('a', 1);
    await tick();
    const waiting = [batcher.add('b', 1), batcher.add('c', 1)];
    await expect(batcher.add('d', 1)).rejects.toThrow('full: 2');
    answer(0);
    await a;
    await tick();
    answer(1);
    await Promise.all(waiting);
    const large = batcher.add('e', 500);
    await expect(batcher.add('f', 1)).rejects.toThrow('full: 1');
    await tick();
    answer(2);
    expect(await large).toBe('E');
  });

  test('keeps no more batches under way than allowed', async () => {
    let underWay = 0;
    let most = 0;
    const batcher = new Batcher<number, number>({
      itemsMax: 7,
      sizeMax: 1000,
      flushesMax: 3,
      waitingMax: 20_000,
      waitingSizeMax: 20_000,
      refuse: () => new Error('full'),
      defer: setImmediate,
      flush: async (items) => {
        most = Math.max(most, ++underWay);
        await tick();
        underWay--;
        return items.map((value) => ({ value: value * 2 }));
      },
    });
    const results = await Promise.all(Array.from({ length: 10_000 }, (_, i) => batcher.add(i, 1)));
    expect(results).toEqual(Array.from({ length: 10_000 }, (_, i) => i * 2));
    expect(most).toBe(3);
    await batcher.idle();
  });

  test('idle waits for what waits and what is under way', async () => {
    const { batcher, answer } = manual({ itemsMax: 1 });
    const calls = [batcher.add('a', 1), batcher.add('b', 1)];
    let isIdle = false;
    const idle = batcher.idle().then(() => {
      isIdle = true;
    });
    for (const i of [0, 1]) {
      await tick();
      expect(isIdle).toBe(false);
      answer(i);
    }
    await idle;
    await Promise.all(calls);
  });
});
