import { measureDrain } from '../harness/draining.js';
import { createQueue } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { median } from '../harness/statistics.js';

/** Limits that are never reached, in the words of SQL. */
const LIMITS = {
  none: {},
  concurrency: { concurrency_max: 1_000_000 },
  rate: { rate_max: 1_000_000, rate_burst: 1_000_000 },
  breaker: { breaker_failures: 100 },
  bound: { max_depth: 100_000_000 },
};

export default {
  name: 'limit-cost',
  title: 'the drain of a queue with a limit that is not reached, in turns with one that has none',
  settings: LIMITS,
  takes: isHowdah,
  rounds: 1,
  columns: [
    { key: 'none', label: 'no limit, jobs/s' },
    { key: 'concurrency', label: 'concurrencyMax' },
    { key: 'rate', label: 'rate' },
    { key: 'breaker', label: 'breaker' },
    { key: 'bound', label: 'maxDepth' },
    ...Object.keys(LIMITS).map((name) => ({
      key: `${name}CpuUs`,
      label: `${name}, server CPU us/job`,
      digits: 1,
    })),
  ],
  plot: Object.keys(LIMITS),
  plotLabel: 'jobs/s',
  goals: Object.keys(LIMITS)
    .slice(1)
    .map((limit) => ({
      text: `${limit}, share of no limit (median of the turns)`,
      measure: (m) => m('howdah', `${limit}Share`),
      least: 0.9,
    })),

  /** A database each; every turn begins with another. Shares compare within a turn. */
  async run(context) {
    const { quick, agent, postgres, freshDatabase } = context;
    const count = quick ? 20_000 : 100_000;
    const turns = quick ? 2 : 7;
    const names = Object.keys(LIMITS);
    const urls = {};
    for (const name of names) {
      urls[name] = await freshDatabase();
      await (await agent(urls[name])).stop(); // installs the schema
      await createQueue(postgres, urls[name], LIMITS[name]);
    }
    const rates = Object.fromEntries(names.map((name) => [name, []]));
    const costs = Object.fromEntries(names.map((name) => [`${name}CpuUs`, []]));
    for (let turn = 0; turn < turns; turn++) {
      for (let i = 0; i < names.length; i++) {
        const name = names[(i + turn) % names.length];
        const drained = await measureDrain(context, { count, url: urls[name] });
        rates[name].push(drained.jobsPerSecond);
        costs[`${name}CpuUs`].push(drained.serverCpuUs);
      }
    }
    const share = (name) => median(rates[name].map((rate, turn) => rate / rates.none[turn]));
    const medians = Object.entries({ ...rates, ...costs }).map(([key, all]) => [key, median(all)]);
    return {
      ...Object.fromEntries(medians),
      ...Object.fromEntries(names.slice(1).map((name) => [`${name}Share`, share(name)])),
    };
  },
};
