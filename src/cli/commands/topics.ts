import type { Argv } from 'yargs';
import type { Subscription } from '../../client/operate/topics.js';
import type { Published } from '../../db/calls/topics.js';
import { command } from '../command.js';
import { durationOf, type GlobalOptions, outputOf, parseJson, withClient } from '../context.js';
import type { Column } from '../output.js';

const SUBSCRIPTIONS: readonly Column<Subscription>[] = [
  { key: 'topic' },
  { key: 'queue' },
  { key: 'subscribedAt', title: 'SINCE' },
];
const PUBLISHED: readonly Column<Published>[] = [
  { key: 'queue' },
  { key: 'id' },
  { key: 'created' },
];

type PairOptions = GlobalOptions & { topic: string; queue: string };

const pair = (yargs: Argv<GlobalOptions>) =>
  yargs
    .positional('topic', { type: 'string', demandOption: true, describe: 'Name of the topic' })
    .positional('queue', { type: 'string', demandOption: true, describe: 'Name of the queue' });

const list = command<GlobalOptions & { topic: string | undefined }>({
  command: 'list [topic]',
  describe: 'List which queues get what is published',
  builder: (yargs) =>
    yargs
      .positional('topic', { type: 'string', describe: 'Only this topic' })
      .example('$0 topics list', ''),
  handler: async (options) => {
    const { topic } = options;
    const rows = await withClient(options, (client) => client.topics.subscriptions({ topic }));
    outputOf(options).list(rows, SUBSCRIPTIONS);
  },
});

const subscribe = command<PairOptions>({
  command: 'subscribe <topic> <queue>',
  describe: 'Let a queue get what is published to a topic',
  builder: (yargs) => pair(yargs).example('$0 topics subscribe orders invoices', ''),
  handler: async (options) => {
    const { topic, queue } = options;
    const created = await withClient(options, (client) => client.topics.subscribe(topic, queue));
    outputOf(options).record({ topic, queue, created });
  },
});

const unsubscribe = command<PairOptions>({
  command: 'unsubscribe <topic> <queue>',
  describe: 'Let a queue get no more of it',
  builder: (yargs) => pair(yargs).example('$0 topics unsubscribe orders invoices', ''),
  handler: async (options) => {
    const { topic, queue } = options;
    const removed = await withClient(options, (client) => client.topics.unsubscribe(topic, queue));
    outputOf(options).record({ topic, queue, removed });
  },
});

const publish = command<
  GlobalOptions & {
    topic: string;
    payload: string;
    delay: string | undefined;
    priority: number | undefined;
    dedupeKey: string | undefined;
    batch: string | undefined;
  }
>({
  command: 'publish <topic> <payload>',
  describe: 'Enqueue a job in each queue that is subscribed, or in none of them',
  builder: (yargs) =>
    yargs
      .positional('topic', { type: 'string', demandOption: true, describe: 'Name of the topic' })
      .positional('payload', { type: 'string', demandOption: true, describe: 'Payload as JSON' })
      .option('delay', { type: 'string', describe: 'Not before this time has passed: 90s, 2h' })
      .option('priority', { type: 'number', describe: '-100 to 100; higher runs first' })
      .option('dedupe-key', { type: 'string', describe: 'One job per queue, key and 5 minutes' })
      .option('batch', { type: 'string', describe: 'Id of an open batch that they belong to' })
      .example(`$0 topics publish orders '{"id":7}'`, 'a line for each job'),
  handler: async (options) => {
    const { topic, priority, batch, dedupeKey: key } = options;
    const payload = parseJson(options.payload, 'The payload');
    const rows = await withClient(options, (client) =>
      client.publish(topic, payload, {
        priority,
        batch,
        delay: durationOf(options.delay),
        dedupe: key === undefined ? undefined : { key },
      }),
    );
    const output = outputOf(options);
    output.list(rows, PUBLISHED);
    if (rows.length === 0) output.remark(`No queue is subscribed to ${topic}.`);
  },
});

export const topicsCommand = command({
  command: 'topics',
  describe: 'Subscribe queues to topics, publish to them',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(subscribe)
      .command(unsubscribe)
      .command(publish)
      .demandCommand(1, 'Name an action: list, subscribe, unsubscribe or publish.'),
  handler: () => undefined,
});
