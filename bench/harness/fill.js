const CHUNK = 10_000;

/** Creates the queue `bench` with a policy, in the words of SQL. The schema is there when an agent is. */
export async function createQueue(postgres, url, policy = {}) {
  await postgres.query(url, "select howdah.create_queue('bench', $1)", [policy]);
}

/**
 * Ready jobs numbered from `from`, by the function that everybody calls. `group`: SQL for the key of job n,
 * `'g' || n % 100`. Two hundred bytes each.
 */
export async function fill(session, { queue = 'bench', from = 0, count, group = 'null' }) {
  for (let first = from; first < from + count; first += CHUNK) {
    await session.query(
      `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
           'queue', $3::text, 'group', ${group},
           'payload', jsonb_build_object('n', n, 'at', 0, 'pad', repeat('x', 170)))) order by n)
         from generate_series($1::int, $2::int) n))`,
      [first, Math.min(first + CHUNK, from + count) - 1, queue],
    );
  }
}
