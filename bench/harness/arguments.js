import { parseArgs } from 'node:util';

export const SUITES = ['peers', 'semantics'];

const HELP = `npm run bench -- [options]

  --quick            a first impression: fewer jobs, one round
  --full             what takes hours or tens of gigabytes: ten million ready rows
  --suite name       peers (default): beside its peers; semantics: what delivery promises cost and keep
  --only a,b         workloads by name or the beginning of one (drain, held, idle, steady, ...)
  --peers a,b        contenders (howdah, graphile, pg-boss, bullmq-always, raw, ...)
  --against ref      builds that commit too and runs both, A B A B: the drain, or what --only says
  --rounds n         interleaved rounds, instead of each workload's own number
  --url URL          a PostgreSQL of yours, instead of one started for this run
  --quiet            for shared machines: wait until nobody else computes, repeat runs they disturbed
  --profile          also print where the server's time went (pg_stat_statements; slower)
  --write-docs       run nothing: write docs/benchmarks.md and its plots from the newest results; what
                     these do not have stays as it was
  --results a,b      for --write-docs: from these results files, the later ones count
  --list             what can be run
`;

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  suite: { type: 'string', default: SUITES[0] },
  only: { type: 'string' },
  peers: { type: 'string' },
  against: { type: 'string' },
  rounds: { type: 'string' },
  url: { type: 'string' },
  quiet: { type: 'boolean', default: false },
  profile: { type: 'boolean', default: false },
  'write-docs': { type: 'boolean', default: false },
  results: { type: 'string' },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};

/** Reads the command line; ends the process where it cannot be followed. */
export function readArguments(words) {
  let values;
  try {
    ({ values } = parseArgs({ args: words, options: OPTIONS }));
  } catch (error) {
    refuse(`${error.message}\n\n${HELP}`);
  }
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0 && rounds <= 100)) {
    refuse(`--rounds ${values.rounds}: give a whole number from 1 to 100`);
  }
  if (!SUITES.includes(values.suite)) {
    refuse(`--suite ${values.suite}: give one of ${SUITES.join(', ')}`);
  }
  if (values.quick && values.full) refuse('--quick and --full: give one of them');
  const only = split(values.only) ?? (values.against ? ['drain'] : undefined);
  const peers = values.against ? ['howdah', 'against'] : split(values.peers);
  if (values.against && values.peers) refuse('--against and --peers: give one of them');
  return { ...values, rounds, only, peers, results: split(values.results) };
}

function refuse(message) {
  console.error(message);
  process.exit(2);
}

const split = (text) => text?.split(',').map((word) => word.trim());
