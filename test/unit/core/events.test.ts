import { expect, test } from 'vitest';
import { EventHub, type WorkerEvent } from '../../../src/core/events.js';

test('every listener hears every event until it is taken away', () => {
  const hub = new EventHub();
  const heard: string[] = [];
  const remove = hub.add((event) => heard.push(`a:${event.type}`));
  hub.add((event) => heard.push(`b:${event.type}`));
  hub.emit('worker.stopped', { worker: 'w' });
  remove();
  hub.emit('worker.stopping', { worker: 'w' });
  expect(heard).toEqual(['a:worker.stopped', 'b:worker.stopped', 'b:worker.stopping']);
  expect(hub.hears('worker.started')).toBe(true);
});

test('a listener of one type hears that, and nothing else need be made', () => {
  const hub = new EventHub();
  const heard: string[] = [];
  expect(hub.hears('job.claimed')).toBe(false);
  const note = ({ type }: WorkerEvent) => heard.push(type);
  const removals = [hub.on('worker.stopped', note), hub.on('worker.stopped', note)];
  expect([hub.hears('worker.stopped'), hub.hears('job.claimed')]).toEqual([true, false]);
  hub.emit('worker.stopping', { worker: 'w' });
  removals[0]?.();
  removals[0]?.();
  hub.emit('worker.stopped', { worker: 'w' });
  expect(heard).toEqual(['worker.stopped']);
  removals[1]?.();
  expect(hub.hears('worker.stopped')).toBe(false);
  hub.on('worker.stopped', note);
  removals[1]?.();
  expect(hub.hears('worker.stopped')).toBe(true);
});

test('a listener that throws or rejects disturbs nobody, and the log is told', async () => {
  const logged: WorkerEvent[] = [];
  const hub = new EventHub((event) => logged.push(event));
  const heard: WorkerEvent[] = [];
  hub.add(() => {
    throw new Error('sync');
  });
  hub.add((async () => {
    throw new Error('async');
  }) as () => void);
  hub.add((event) => heard.push(event));
  hub.emit('lease.opened', { leaseId: '7' });
  await Promise.resolve();
  expect(heard).toEqual([{ type: 'lease.opened', leaseId: '7' }]);
  expect(logged.map(({ type }) => type)).toEqual([
    'lease.opened',
    'listener.threw',
    'listener.threw',
  ]);
});

test('a log that throws disturbs nobody either', () => {
  const hub = new EventHub(() => {
    throw new Error('disk full');
  });
  expect(() => hub.emit('lease.opened', { leaseId: '7' })).not.toThrow();
});
