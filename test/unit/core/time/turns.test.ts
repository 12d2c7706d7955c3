import { describe, expect, test } from 'vitest';
import { Turns } from '../../../../src/core/time/turns.js';

describe('Turns', () => {
  test('so many run at once, the others in their order, also behind one that fails', async () => {
    const turns = new Turns(2);
    const begun: number[] = [];
    const ends: ((error?: Error) => void)[] = [];
    const calls = [0, 1, 2, 3, 4].map((i) =>
      turns.run(
        () =>
          new Promise<number>((resolve, reject) => {
            begun.push(i);
            ends[i] = (error) => (error ? reject(error) : resolve(i));
          }),
      ),
    );
    expect(begun).toEqual([0, 1]);
    expect(turns.waiting).toBe(3);
    ends[1]?.(new Error('no'));
    await expect(calls[1]).rejects.toThrow('no');
    await Promise.resolve();
    expect(begun).toEqual([0, 1, 2]);
    ends[0]?.();
    ends[2]?.();
    await Promise.all([calls[0], calls[2]]);
    await Promise.resolve();
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    for (const end of ends) end();
    await Promise.all([calls[3], calls[4]]);
    expect(turns.waiting).toBe(0);
    // all turns are free again
    expect(await turns.run(async () => 'next')).toBe('next');
  });
});
