// What one statement costs the server: pages from EXPLAIN, CPU from what getrusage() says of its process, which
// `log_statement_stats` sends. Nobody else's work is in either, so a busy machine does no harm.

const CPU = /!\s+([\d.]+) s user, ([\d.]+) s system/;

/** @param session a superuser's. `of` runs a statement, tells what it cost, and undoes what it changed. */
export function startUsage(session) {
  let details = [];
  session.on('notice', ({ detail }) => details.push(detail ?? ''));
  return {
    async of(text) {
      await session.query('begin; set local client_min_messages = log');
      await session.query('set local log_statement_stats = on');
      details = [];
      const { rows } = await session.query(
        `explain (analyze, buffers, timing off, format json) ${text}`,
      );
      const [, user, system] = CPU.exec(details.find((detail) => CPU.test(detail)) ?? '') ?? [];
      await session.query('rollback');
      if (user === undefined) throw new Error('the server does not say what a statement costs');
      const { Plan: plan } = rows[0]['QUERY PLAN'][0];
      return {
        rows: plan['Actual Rows'],
        pages: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'],
        cpuMs: (Number(user) + Number(system)) * 1000,
      };
    },
  };
}
