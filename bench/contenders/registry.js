// Who takes part. A contender is one file whose `create(name)` returns an object with
//   describe()                      version and configuration, printed with the figures
//   setup(url)                      install what is missing and connect; called in each process
//   enqueueOne(payload, {runAt}?)   one job, durable when the promise resolves
//   enqueueMany(payloads, group?)   an iterable of payloads, in the fastest way the contender has
//   spread(queues)                  use so many queues, job n goes to queue n % queues (optional)
//   enqueueInTransaction(pg, payload)   within the caller's open transaction (Postgres only)
//   startWorker(handler, concurrency?, options?)  handler(payload) per job; no concurrency = its own
//                                   best; options: what only this contender knows; isStrict: in order,
//                                   each when the one before is finished
//   unfinished()                    jobs not yet finished
//   stop()                          finish what runs, settle, disconnect
// It is loaded only in the processes that use it, so that nobody's memory counts somebody else's code.

/** @type {Record<string, {file: string, store: 'postgres' | 'redis-everysec' | 'redis-always', extra?: boolean}>} */
export const CONTENDERS = {
  howdah: { file: './howdah.js', store: 'postgres' },
  'howdah-nohistory': { file: './howdah.js', store: 'postgres' },
  // another commit of this repository: --against
  against: { file: './howdah.js', store: 'postgres', extra: true },
  graphile: { file: './graphile.js', store: 'postgres' },
  'graphile-plain': { file: './graphile.js', store: 'postgres', extra: true },
  'pg-boss': { file: './pg-boss.js', store: 'postgres' },
  'pg-boss-poll': { file: './pg-boss.js', store: 'postgres', extra: true },
  'bullmq-everysec': { file: './bullmq.js', store: 'redis-everysec' },
  'bullmq-always': { file: './bullmq.js', store: 'redis-always' },
  raw: { file: './raw.js', store: 'postgres' },
};

export async function createContender(name) {
  const module = await import(CONTENDERS[name].file);
  return module.create(name);
}

/** Splits any iterable into arrays of `size`. */
export function* chunks(items, size) {
  let chunk = [];
  for (const item of items) {
    chunk.push(item);
    if (chunk.length === size) {
      yield chunk;
      chunk = [];
    }
  }
  if (chunk.length > 0) yield chunk;
}

/** A package's version, read from its package.json whatever its exports map says. */
export async function versionOf(name) {
  const { readFile } = await import('node:fs/promises');
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(await readFile(file, 'utf8')).version;
}
