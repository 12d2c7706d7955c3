import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import pg from 'pg';
import { epochMs, monotonicMs, sleep } from './clock.js';
import { payload, payloads } from './payload.js';

function exposeGc() {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}

/** The ways to produce. Each numbers its jobs from `from` and tells how long it took. */
export class Producer {
  #contender;
  #url;

  constructor(contender, url) {
    this.#contender = contender;
    this.#url = url;
  }

  /** Produces in one of the ways below; `cpuSeconds` is what this process took for it. */
  async run(how, options) {
    const before = process.cpuUsage();
    const made = await this[how](options);
    const { user, system } = process.cpuUsage(before);
    return { ...made, cpuSeconds: (user + system) / 1e6 };
  }

  /** `group`: all in this one. */
  async many({ from = 0, count, bytes, group }) {
    const start = monotonicMs();
    await this.#contender.enqueueMany(payloads(from, count, bytes), group);
    return { elapsedMs: monotonicMs() - start, count };
  }

  /**
   * Like `many`, with a look at this process's memory at each tenth: what is alive after a garbage
   * collection, and the resident set, which V8 lets grow while nothing presses it.
   */
  async stream({ count }) {
    const collectGarbage = exposeGc();
    const samples = [];
    let made = 0;
    function* watched() {
      for (const item of payloads(0, count)) {
        if (++made % Math.ceil(count / 10) === 0) {
          const { rss } = process.memoryUsage();
          collectGarbage();
          samples.push({ rss, live: process.memoryUsage().heapUsed });
        }
        yield item;
      }
    }
    const start = monotonicMs();
    await this.#contender.enqueueMany(watched());
    return { elapsedMs: monotonicMs() - start, samples };
  }

  /** For `seconds`: `callers` loops, each enqueues one job after the other. */
  async callers({ from = 0, seconds, callers }) {
    let next = from;
    const start = monotonicMs();
    const loop = async () => {
      while (monotonicMs() - start < seconds * 1000) {
        await this.#contender.enqueueOne(payload(next++));
      }
    };
    await Promise.all(Array.from({ length: callers }, loop));
    return { elapsedMs: monotonicMs() - start, count: next - from };
  }

  /** For `seconds`, one caller: BEGIN, enqueue, COMMIT. */
  async transactions({ from = 0, seconds }) {
    const client = new pg.Client(this.#url);
    await client.connect();
    let next = from;
    const start = monotonicMs();
    while (monotonicMs() - start < seconds * 1000) {
      await client.query('begin');
      await this.#contender.enqueueInTransaction(client, payload(next++));
      await client.query('commit');
    }
    const elapsedMs = monotonicMs() - start;
    await client.end();
    return { elapsedMs, count: next - from };
  }

  /** One job at a time with a pause of 10 to 30 ms between: what an idle worker sees. */
  async gaps({ from = 0, count }) {
    const start = monotonicMs();
    for (let n = from; n < from + count; n++) {
      await this.#contender.enqueueOne(payload(n, monotonicMs()), { ring: true });
      await sleep(10 + 20 * Math.random());
    }
    return { elapsedMs: monotonicMs() - start };
  }

  /**
   * Open loop: job k is due at start + k / rate whatever became of those before it, and its latency
   * counts from then (no coordinated omission). Late ticks send all that is due. A contender that
   * falls three seconds behind has not held the rate: nothing more is sent.
   */
  async openLoop({ from = 0, rate, seconds }) {
    const pending = new Set();
    const send = (n, at) => {
      const one = this.#contender
        .enqueueOne(payload(n, at), { ring: true })
        .then(() => pending.delete(one));
      pending.add(one);
    };
    const start = monotonicMs();
    let sent = 0;
    while (sent < rate * seconds && pending.size < 3 * rate) {
      const due = Math.floor(((monotonicMs() - start) / 1000) * rate) + 1;
      for (; sent < Math.min(due, rate * seconds); sent++) {
        send(from + sent, start + (sent * 1000) / rate);
      }
      await sleep(1);
    }
    await Promise.all(pending);
    return { elapsedMs: monotonicMs() - start, sent, isHeld: sent === rate * seconds };
  }

  /** Jobs due at random times between `minMs` and `maxMs` from now. */
  async delayed({ from = 0, count, minMs, maxMs, callers = 16 }) {
    const start = epochMs();
    let next = from;
    const loop = async () => {
      while (next < from + count) {
        const at = Math.round(start + minMs + (maxMs - minMs) * Math.random());
        await this.#contender.enqueueOne(payload(next++, at), { runAt: new Date(at) });
      }
    };
    await Promise.all(Array.from({ length: callers }, loop));
    return { elapsedMs: epochMs() - start };
  }
}
