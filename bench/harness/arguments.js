import { parseArgs } from 'node:util';

const HELP = `npm run bench -- [options]

  --quick            about two minutes: fewer jobs, one round
  --only a,b         workloads by name or the beginning of one (drain, held, idle, steady, enqueue, ...)
  --peers a,b        contenders (howdah, graphile, pg-boss, bullmq-always, raw, ...)
  --rounds n         interleaved rounds, instead of each workload's own number
  --url URL          a PostgreSQL of yours, instead of one started for this run
  --quiet          for shared machines: wait until nobody else computes, repeat runs they disturbed
  --profile        also print where the server's time went (pg_stat_statements; slower)
  --list             what can be run
`;

export function readArguments(words) {
  const { values } = parseArgs({
    args: words,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      peers: { type: 'string' },
      rounds: { type: 'string' },
      url: { type: 'string' },
      quiet: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0 && rounds <= 100)) {
    console.error(`--rounds ${values.rounds}: give a whole number from 1 to 100`);
    process.exit(2);
  }
  return { ...values, rounds, only: split(values.only), peers: split(values.peers) };
}

const split = (text) => text?.split(',').map((word) => word.trim());
