const PEERS = ['graphile', 'pg-boss'];

/** The greatest of what the Postgres peers reached; NaN where none ran. */
export function bestPeer(m, key) {
  const reached = PEERS.map((name) => m(name, key)).filter((value) => Number.isFinite(value));
  return reached.length > 0 ? Math.max(...reached) : Number.NaN;
}

/** Only Howdah, and another commit of it. */
export const isHowdah = (name) => name === 'howdah' || name === 'against';
