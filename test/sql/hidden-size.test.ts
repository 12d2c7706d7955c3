import { describe, expect } from 'vitest';
import { test } from '../support/sql-test.js';

/** Some ten bytes as jsonb, 131,072 characters as text; zero can be long, too. */
const BOMBS = ['1e131071', '-1E+131071', '0e-16383'];
const DEEP = `${'['.repeat(502)}${']'.repeat(502)}`;
const AT_MOST = `${'['.repeat(501)}${']'.repeat(501)}`;
const RS = '\u001e';

describe('a payload whose text is longer than its stored form tells', () => {
  for (const bomb of BOMBS) {
    test(`${bomb} is refused, however it comes`, async ({ db }) => {
      await db.createQueue('small', { payload_bytes_max: 1000 });
      const payloads = [bomb, `{"a": [1, ${bomb}]}`, `[${Array(5).fill(bomb).join()}]`];
      for (const payload of payloads) {
        for (const [sql, text] of [
          ['select * from howdah.enqueue($1)', `{"queue": "small", "payload": ${payload}}`],
          [
            'select * from howdah.enqueue($1)',
            `[{"queue": "small", "payload": 1},
            {"queue": "small", "payload": ${payload}}]`,
          ],
          ['select * from howdah.enqueue($1)', `{"queue": "small", "payloads": [1, ${payload}]}`],
          ['select howdah.enqueue_many($1)', `{"queue": "small", "payload": ${payload}}`],
          ['select howdah.enqueue_many($1)', ['{"queue": "small"}', '1', payload].join(RS)],
          [
            'select howdah.enqueue_many($1)',
            ['{"queue": "small", "priority": 1}', payload].join(RS),
          ],
          [
            `select howdah.put_schedule('s', $1)`,
            `{"cron": "0 3 * * *", "queue": "small", "payload": ${payload}}`,
          ],
          [
            'select howdah.open_batch($1)',
            `{"on_complete": {"queue": "small", "payload": ${payload}}}`,
          ],
        ] as const) {
          await expect(db.rows(sql, [text]), `${sql} ${text}`).rejects.toMatchObject({
            code: expect.stringMatching(/^HW01[01]$/),
            message: expect.stringMatching(
              /payload has (a number that no client|(\d+|too many) bytes, queue 'small' allows 1000)/,
            ),
          });
        }
      }
      const [id] = await db.enqueue('small');
      await expect(
        db.rows('select howdah.edit_job($1, $2)', [id, `{"payload": ${bomb}}`]),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^HW01[01]$/) });
      const reports = await db.rows<{ error_code: string | null }>(
        `select error_code from howdah.enqueue($1, 'report')`,
        [`[{"queue": "small", "payload": ${bomb}}, {"queue": "small", "payload": 1}]`],
      );
      expect(reports.map(({ error_code }) => error_code)).toEqual([
        expect.stringMatching(/^HOWDAH_PAYLOAD_(TOO_LARGE|INVALID)$/),
        null,
      ]);
      expect(
        await db.one(`select max(octet_length(payload::text)) from howdah._jobs`),
      ).toBeLessThan(1000);
    });
  }

  test('of a default queue, some tens of them are refused', async ({ db }) => {
    await db.createQueue('wide');
    for (const count of [30]) {
      await expect(
        db.rows(
          `select howdah.enqueue(jsonb_build_object('queue', 'wide', 'payload',
          (select jsonb_agg(1e20000::numeric) from generate_series(1, $1 * 2))))`,
          [count],
        ),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^HW01[01]$/) });
    }
  });

  test('is found in what is given besides payloads', async ({ db }) => {
    await db.createQueue('beside');
    const many = `(select jsonb_agg(1e131071::numeric) from generate_series(1, 50))`;
    for (const headers of [
      `jsonb_build_object('n', 1e131071::numeric)`,
      `jsonb_build_object('n', ${many})`,
    ]) {
      await expect(
        db.rows(
          `select howdah.enqueue(jsonb_build_object('queue', 'beside', 'payload', 1, 'headers', ${headers}))`,
        ),
      ).rejects.toMatchObject({ code: 'HW015' });
    }
    await expect(
      db.rows(`select howdah.open_lease('w', 60000, jsonb_build_object('n', ${many}))`),
    ).rejects.toMatchObject({ code: 'HW023' });
    const ids = await db.enqueue('beside', 4);
    const lease = await db.openLease();
    const jobs = await db.claim('beside', lease, 4);
    const [one, two, three, four] = jobs;
    const result = many.replace('50', '70');
    await expect(
      db.rows(
        `select howdah.report($1, jsonb_build_array(jsonb_build_object('id', $2::bigint, 'attempt', 1,
        'progress', ${many})))`,
        [lease, one?.id],
      ),
    ).rejects.toMatchObject({ code: 'HW184' });
    await db.rows(
      `select howdah.report($1, jsonb_build_array(jsonb_build_object('id', $2::bigint, 'attempt', 1,
      'lines', jsonb_build_array(jsonb_build_object('message', 'm', 'ago_ms', 'soon', 'fields',
        jsonb_build_object('n', ${many}))))))`,
      [lease, one?.id],
    );
    await db.rows(`select howdah.complete($1, $2, 1, ${result})`, [lease, one?.id]);
    await db.rows(
      `select howdah.complete_many($1, array[$2::bigint], array[1], jsonb_build_object($2::text, ${result}))`,
      [lease, two?.id],
    );
    await db.rows(`select howdah.fail($1, $2, 1, ${many})`, [lease, three?.id]);
    await db.rows(`select howdah.complete($1, $2, 1, $3)`, [lease, four?.id, `{"deep": ${DEEP}}`]);
    const rows = await db.rows<{ id: string; text: string }>(
      `select id, left(coalesce(result, errors)::text, 200) as text from howdah.jobs where id = any ($1) order by id`,
      [ids],
    );
    expect(rows).toHaveLength(4);
    for (const { text } of rows) expect(text).toContain('not stored');
    expect(
      await db.one('select fields::text from howdah._report_lines where job_id = $1', [one?.id]),
    ).toBeNull();
  });

  test('an honest one is taken as before, up to its bound', async ({ db }) => {
    await db.createQueue('honest', { payload_bytes_max: 1000 });
    expect(
      await db.rows(
        `select * from howdah.enqueue(jsonb_build_object('queue', 'honest', 'payload', repeat('x', 998)))`,
      ),
    ).toHaveLength(1);
    await expect(
      db.rows(
        `select howdah.enqueue(jsonb_build_object('queue', 'honest', 'payload', repeat('x', 999)))`,
      ),
    ).rejects.toMatchObject({ code: expect.stringMatching(/^HW01[01]$/) });
  });
});

describe('a payload that is nested deeper than a client takes', () => {
  test('is refused, however it comes', async ({ db }) => {
    await db.createQueue('deep');
    for (const payload of [
      DEEP,
      `{"a": ${DEEP}}`,
      DEEP.replaceAll('[', '{"a":[').replaceAll(']', ']}'),
    ]) {
      for (const [sql, text] of [
        ['select * from howdah.enqueue($1)', `{"queue": "deep", "payload": ${payload}}`],
        [
          'select * from howdah.enqueue($1)',
          `[{"queue": "deep", "payload": 1}, {"queue": "deep", "payload": ${payload}}]`,
        ],
        ['select howdah.enqueue_many($1)', ['{"queue": "deep"}', '1', payload].join(RS)],
        [
          `select howdah.put_schedule('s', $1)`,
          `{"cron": "0 3 * * *", "queue": "deep", "payload": ${payload}}`,
        ],
      ] as const) {
        await expect(db.rows(sql, [text])).rejects.toMatchObject({
          code: 'HW010',
          message: expect.stringContaining('deeper than 500 levels'),
        });
      }
      await expect(
        db.rows('select howdah.enqueue($1)', [
          `{"queue": "deep", "payload": 1, "headers": {"a": ${payload}}}`,
        ]),
      ).rejects.toMatchObject({ code: 'HW015' });
      const [id] = await db.enqueue('deep');
      await expect(
        db.rows('select howdah.edit_job($1, $2)', [id, `{"payload": ${payload}}`]),
      ).rejects.toMatchObject({ code: 'HW010' });
    }
  });

  test('as deep as a client takes is taken', async ({ db }) => {
    await db.createQueue('just');
    for (const payload of [AT_MOST, `${'['.repeat(501)}1${']'.repeat(501)}`]) {
      await db.rows('select howdah.enqueue($1)', [`{"queue": "just", "payload": ${payload}}`]);
      await db.rows('select howdah.enqueue_many($1)', [['{"queue": "just"}', payload].join(RS)]);
    }
  });
});
