// Compiled by `npm run check`, never run: what the types promise and what they refuse.
import { type AnySchedule, type Client, createWorker, queue, schedule, work } from 'howdah';

declare const client: Client;

const reports = queue<{ kind: string }>('reports');
const base = { name: 'nightly', cron: '0 3 * * *' } as const;

await client.schedules.put({ ...base, queue: reports, payload: { kind: 'daily' }, priority: 3 });
await client.schedules.put({ ...base, queue: 'by-name', payload: [1, 2] });
await client.schedules.put({ ...base, queue: 'by-name' });
// @ts-expect-error: a payload that the queue does not take
await client.schedules.put({ ...base, queue: reports, payload: { kind: 5 } });
// @ts-expect-error: the expression says when
await client.schedules.put({ ...base, queue: reports, payload: { kind: 'x' }, runAt: new Date() });
// @ts-expect-error: no such policy
await client.schedules.put({ ...base, queue: 'by-name', missed: 'maybe' });

const list: AnySchedule[] = [schedule({ ...base, queue: reports, payload: { kind: 'daily' } })];
// @ts-expect-error: a payload that the queue does not take
list.push(schedule({ ...base, queue: reports, payload: { day: 1 } }));
createWorker({ queues: [work(reports, () => undefined)], schedules: list, schedulesOwner: 'app' });
