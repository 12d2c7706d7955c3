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

test('a listener that throws or rejects disturbs nobody', async () => {
  const thrown: unknown[] = [];
  const hub = new EventHub((error) => thrown.push(error));
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
  expect(thrown.map(String).sort()).toEqual(['Error: async', 'Error: sync']);
});
