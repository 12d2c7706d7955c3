import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '../../test/support/fault-proxy.js';
import { type Field, type Nemesis, proxiesOf, seen } from './nemesis.js';

function proxyOf(field: Field): FaultProxy {
  return field.random.pick(proxiesOf(field));
}

export const slowNetwork: Nemesis = {
  name: 'slow-network',
  what: 'every packet is late by 50 to 300 ms',
  async strike(field) {
    const proxy = proxyOf(field);
    const ms = field.random.int(50, 300);
    proxy.delay(ms);
    await sleep(2_000);
    proxy.delay(0);
    return proxy.connections > 0 ? `${ms} ms on ${proxy.connections} lines` : undefined;
  },
};

export const cutNetwork: Nemesis = {
  name: 'cut-network',
  what: 'all lines are cut, some in mid-reply, and new ones are refused for a while',
  async strike(field) {
    const proxy = proxyOf(field);
    const lines = proxy.connections;
    if (field.random.chance(0.5)) {
      proxy.cutAfter(field.random.int(1, 3_000));
      await sleep(200);
    }
    proxy.refuse();
    proxy.cut();
    await sleep(field.random.int(100, 2_500));
    proxy.refuse(false);
    return lines > 0 ? `${lines} lines` : undefined;
  },
};

export const halfOpen: Nemesis = {
  name: 'half-open',
  what: 'lines stay up but nothing passes, for longer than a lease',
  async strike(field) {
    const proxy = proxyOf(field);
    const lines = proxy.connections;
    proxy.freeze();
    await sleep(field.random.int(2_500, 4_000));
    proxy.thaw();
    return lines > 0 ? `${lines} lines` : undefined;
  },
};

/** A worker's settles arrive when its lease has ended and others have its jobs. */
export const lateSettle: Nemesis = {
  name: 'late-settle',
  what: 'what a worker sends arrives after its lease has ended',
  async strike(field) {
    const [proxy, ...others] = field.random.shuffle(field.workerProxies);
    const stale = (): number => field.fleet.count('job.stale') + field.fleet.count('lease.lost');
    if (!proxy || others.length === 0) return undefined;
    const before = stale();
    proxy.delay(field.random.int(3_500, 5_000));
    await sleep(2_000);
    proxy.delay(0);
    await seen(async () => stale() - before || undefined, 8_000);
    await sleep(1_000);
    const count = stale() - before;
    return count === 0 ? undefined : `${count} leases lost or settles refused`;
  },
};

const REPLIES = ['commit', 'complete', 'settle', '"payload"', 'claim'];

/** What is done is done, but who asked for it does not learn so. */
export const lostReply: Nemesis = {
  name: 'lost-reply',
  what: 'the reply to a commit, an enqueue, a settle or a claim is lost',
  async strike(field) {
    const proxies = proxiesOf(field);
    const lost = (): number => proxies.reduce((sum, { repliesLost }) => sum + repliesLost, 0);
    const before = lost();
    for (let i = 0; i < 4; i += 1) {
      for (const proxy of proxies) proxy.loseReplyTo(field.random.pick(REPLIES));
      await sleep(field.random.int(200, 600));
    }
    return lost() > before ? `${lost() - before} replies` : undefined;
  },
};

export const deafNetwork: Nemesis = {
  name: 'deaf-network',
  what: 'notifications do not arrive any more, everything else does',
  async strike(field) {
    for (const proxy of field.workerProxies) proxy.dropNotifications();
    const before = field.crowd.acknowledged;
    await sleep(3_000);
    for (const proxy of field.workerProxies) proxy.dropNotifications(false);
    const meanwhile = field.crowd.acknowledged - before;
    return meanwhile > 0 ? `${meanwhile} calls of producers meanwhile` : undefined;
  },
};
