/** Throws unless each of `count` jobs was handled exactly once, over all workers' counts. */
export function assertEachOnce(reports, count) {
  let lost = 0;
  let repeated = 0;
  for (let n = 0; n < count; n++) {
    let times = 0;
    for (const { counts } of reports) times += counts[n];
    if (times === 0) lost++;
    else repeated += times - 1;
  }
  if (lost > 0 || repeated > 0) {
    throw new Error(`${lost} of ${count} jobs lost, ${repeated} repeated`);
  }
}

/** Throws unless the store holds exactly `count` unfinished jobs. */
export async function assertStored(agent, count) {
  const stored = await agent.call('unfinished');
  if (stored !== count) throw new Error(`${stored} jobs stored of ${count} enqueued`);
}

/** For workers that were stopped early: each job was handled once, or is still one of the `left`. */
export function assertPart(reports, count, left) {
  const missing = Array.from({ length: count }, (_, n) => n).filter((n) =>
    reports.every(({ counts }) => counts[n] === 0),
  ).length;
  const times = reports.reduce((sum, { counts }) => sum + counts.reduce((a, b) => a + b, 0), 0);
  const repeated = times - (count - missing);
  if (missing !== left || repeated > 0) {
    throw new Error(`${missing - left} of ${count} jobs lost, ${repeated} repeated`);
  }
}
