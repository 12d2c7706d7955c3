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
  expect(hub.isHeard).toBe(true);
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
