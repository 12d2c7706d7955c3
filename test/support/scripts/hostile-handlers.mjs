// Handlers that do what handlers should not.

const never = new Promise(() => undefined);

function cycle() {
  const object = {};
  object.self = object;
  return object;
}

export const hostileHandlers = {
  throwsUndefined() {
    throw undefined;
  },
  throwsNull() {
    throw null;
  },
  throwsText() {
    throw 'just text';
  },
  throwsCycle() {
    throw cycle();
  },
  throwsHuge() {
    throw new Error('x'.repeat(10 * 1024 * 1024));
  },
  throwsGetter() {
    throw Object.defineProperty({}, 'message', {
      get() {
        throw new Error('from the getter');
      },
    });
  },
  throwsProxy() {
    const refuse = () => {
      throw new Error('from the trap');
    };
    throw new Proxy({}, { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse });
  },
  throwsUnstorable() {
    throw new Error('nul \u0000 and lone \ud800 here');
  },
  returnsNul: () => ({ text: 'a\u0000b' }),
  returnsLoneSurrogate: () => ({ text: '\udc00' }),
  returnsHuge: () => 'x'.repeat(5 * 1024 * 1024),
  returnsBigInt: () => ({ n: 1n }),
  returnsCycle: () => cycle(),
  returnsFunction: () => () => undefined,
  returnsDate: () => new Date(Number.NaN),
  returnsThrowingThenable: () => ({
    // biome-ignore lint/suspicious/noThenProperty: that is what is tested
    get then() {
      throw new Error('from then');
    },
  }),
  returnsRejectingThenable: () => ({
    // biome-ignore lint/suspicious/noThenProperty: that is what is tested
    then(_resolve, reject) {
      reject(new Error('first'));
      reject(new Error('second'));
    },
  }),
  rejectsLate: () =>
    new Promise((_resolve, reject) => setTimeout(() => reject(new Error('late')), 50)),
  neverSettles: () => never,
  /** Its answer comes when its attempt has timed out long ago. */
  answersTooLate: () => new Promise((resolve) => setTimeout(() => resolve('too late'), 1_500)),
  exits: () => process.exit(0),
  aborts: () => process.abort(),
  /** Out of memory, in the way that ends a process. */
  exhausts() {
    const hoard = [];
    for (;;) hoard.push(new Array(1_000_000).fill(hoard.length));
  },
  /** Never lets the event loop turn again, until whoever watches the process loses patience. */
  spins() {
    const begunAt = performance.now();
    while (performance.now() - begunAt < 5_000);
    process.kill(process.pid, 'SIGKILL');
  },
  throwsInTimer() {
    setTimeout(() => {
      throw new Error('in a timer');
    }, 0);
    return never;
  },
  forgetsRejection() {
    void Promise.reject(new Error('forgotten'));
    return never;
  },
};
