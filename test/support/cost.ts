import type pg from 'pg';

/** What a statement cost the server. */
export interface Cost {
  /** Shared buffers touched, found or read. */
  readonly buffers: number;
  /** CPU time of the session's process, in milliseconds: nobody else's work is in it. */
  readonly cpuMs: number;
}

/** `log_statement_stats`: what getrusage() says of this statement. */
const CPU = /!\s+([\d.]+) s user, ([\d.]+) s system/;

/**
 * Runs a statement and tells what it cost; what it changed is undone. Needs a superuser, as the tests have.
 * The statement is repeated and the least is taken, for other work on the machine only ever adds.
 */
export async function costOf(pool: pg.Pool, text: string, tries = 2): Promise<Cost> {
  const client = await pool.connect();
  const stats: string[] = [];
  const note = ({ detail }: { readonly detail?: string | undefined }) => stats.push(detail ?? '');
  client.on('notice', note);
  try {
    const costs: Cost[] = [];
    for (let i = 0; i < tries; i += 1) {
      await client.query('begin; set local client_min_messages = log');
      stats.length = 0;
      await client.query('set local log_statement_stats = on');
      stats.length = 0;
      const { rows } = await client.query(
        `explain (analyze, buffers, timing off, format json) ${text}`,
      );
      await client.query('set local log_statement_stats = off');
      await client.query('rollback');
      costs.push({ buffers: buffersOf(rows[0]['QUERY PLAN']), cpuMs: cpuOf(stats[0]) });
    }
    return {
      buffers: Math.min(...costs.map(({ buffers }) => buffers)),
      cpuMs: Math.min(...costs.map(({ cpuMs }) => cpuMs)),
    };
  } finally {
    client.off('notice', note);
    client.release();
  }
}

/** The root of the plan has what all its nodes and the functions in them touched. */
function buffersOf(plan: [{ Plan: Record<string, number> }]): number {
  const { 'Shared Hit Blocks': hit, 'Shared Read Blocks': read } = plan[0].Plan;
  if (hit === undefined || read === undefined) throw new Error('the plan tells no buffers');
  return hit + read;
}

function cpuOf(stats: string | undefined): number {
  const [, user, system] = CPU.exec(stats ?? '') ?? [];
  if (user === undefined) throw new Error(`the server sent no usage: ${stats}`);
  return (Number(user) + Number(system)) * 1000;
}
