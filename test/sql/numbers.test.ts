import { describe, expect } from 'vitest';
import { sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const many = (n: number, number: string) => `[${Array(n).fill(number).join()}]`;

/** As text they have 4 GB, or 500 MB; the sessions below end what takes ten seconds. */
const BOMBS = {
  large: many(30_000, '1e131071'),
  small: many(30_000, '1e-16383'),
  zeros: many(30_000, '0e-16383'),
};

describe('numbers that no client holds are refused before their text is made', () => {
  for (const [name, bomb] of Object.entries(BOMBS)) {
    test(`${name}: in payload, headers, options, schedules, batches, topics`, async ({
      db,
      pool,
    }) => {
      await db.createQueue('numbers').catch(() => undefined);
      const client = await pool.connect();
      try {
        await client.query(`set statement_timeout = '10s'`);
        const refused = async (call: string, ...values: string[]) =>
          (await sqlError(client.query(`select * from howdah.${call}`, values))).code;
        const job = (rest: string) => `{"queue": "numbers", ${rest}}`;
        for (const call of ['enqueue($1::text::jsonb)', 'enqueue_many($1)']) {
          expect(await refused(call, job(`"payload": ${bomb}`)), call).toBe('HW010');
          expect(await refused(call, job(`"payload": 1, "headers": {"n": ${bomb}}`)), call).toBe(
            'HW015',
          );
          expect(await refused(call, `{"queue": "numbers", "payloads": [1, ${bomb}]}`), call).toBe(
            'HW010',
          );
        }
        expect(
          await refused('enqueue_many($1)', `{"queue": "numbers"}\x1e1\x1e${bomb}`),
          'one of many',
        ).toBe('HW010');
        const schedule = `{"cron": "* * * * *", "queue": "numbers", "payload": ${bomb}}`;
        expect(await refused(`put_schedule('bomb', $1::text::jsonb)`, schedule)).toBe('HW010');
        expect(
          await refused('publish($1::text::jsonb)', `{"topic": "t", "payload": ${bomb}}`),
        ).toBe('HW010');
        const batch = `{"on_complete": ${job(`"payload": ${bomb}`)}}`;
        expect(await refused('open_batch($1::text::jsonb)', batch)).toBe('HW010');
        const [id] = await db.enqueue('numbers');
        expect(await refused(`edit_job(${id}, $1::text::jsonb)`, `{"payload": ${bomb}}`)).toBe(
          'HW010',
        );
        if (name !== 'zeros') {
          expect(
            await refused('enqueue($1::text::jsonb)', job(`"payload": 1, "group": ${bomb}`)),
          ).toBe('HW018');
        }
      } finally {
        client.release(true);
      }
    });

    test(`${name}: a result or an error is replaced, progress and info refused`, async ({
      db,
      pool,
    }) => {
      const queue = `ended-${name}`;
      await db.createQueue(queue);
      const client = await pool.connect();
      try {
        await client.query(`set statement_timeout = '10s'`);
        const [first, second] = await db.enqueue(queue, 2);
        const lease = await db.openLease();
        await db.claim(queue, lease, 2);
        expect(
          await sqlError(
            client.query('select * from howdah.report($1, $2::text::jsonb)', [
              lease,
              `[{"id": ${first}, "attempt": 1, "progress": ${bomb}}]`,
            ]),
          ),
        ).toMatchObject({ code: 'HW184' });
        expect(
          await sqlError(
            client.query(`select howdah.open_lease('w', 30000, $1::text::jsonb)`, [
              `{"n": ${bomb}}`,
            ]),
          ),
        ).toMatchObject({ code: 'HW023' });
        const failed = await client.query(
          'select outcome from howdah.settle($1, $2::text::jsonb)',
          [lease, `[{"id": ${second}, "attempt": 1, "outcome": "dead_letter", "error": ${bomb}}]`],
        );
        expect(failed.rows).toEqual([{ outcome: 'dead' }]);
        await client.query(
          'select howdah.complete_many($1, array[$2::bigint], array[1], $3::text::jsonb)',
          [lease, first, `{"${first}": ${bomb}}`],
        );
        expect(await db.one('select result from howdah.jobs where id = $1', [first])).toMatchObject(
          {
            howdah: 'result not stored',
          },
        );
        expect(
          await db.one('select errors from howdah.jobs where id = $1', [second]),
        ).toMatchObject([{ message: expect.stringContaining('error not stored') }]);
      } finally {
        client.release(true);
      }
    });
  }

  test('one is enough, and its neighbours are enqueued', async ({ db }) => {
    await db.createQueue('numbers').catch(() => undefined);
    for (const number of ['1e309', '-1.8e308', '1e-400', '0e-400', '1e131071']) {
      const rows = await db.rows<{ answer: string }>(
        `select howdah.enqueue_many($1, 'report') as answer`,
        [`{"queue": "numbers"}\x1e1\x1e{"n": [${number}]}\x1e2`],
      );
      expect(JSON.parse(rows[0]?.answer ?? ''), number).toMatchObject({
        ids: expect.stringMatching(/^\d+,,\d+$/),
        refused: [
          [
            2,
            'HOWDAH_PAYLOAD_INVALID',
            expect.stringContaining('no client holds'),
            expect.any(String),
            null,
          ],
        ],
      });
    }
    await db.expectTruth();
  });

  test('those that JavaScript writes are stored', async ({ db }) => {
    await db.createQueue('numbers').catch(() => undefined);
    const values = [
      Number.MAX_VALUE,
      -Number.MAX_VALUE,
      Number.MIN_VALUE,
      2.2250738585072014e-308,
      1e21,
    ];
    const [id] = (
      await db.one<string>(`select howdah.enqueue_many($1)`, [
        JSON.stringify({ queue: 'numbers', payload: values }),
      ])
    ).split(',');
    expect(await db.one('select payload from howdah.jobs where id = $1', [id])).toEqual(values);
  });
});

describe('what its numbers make too long is refused by an estimate', () => {
  for (const number of ['1e300', '-1e300', '1e-300', '1e100', '1e30', '0e-300']) {
    test(`${number}`, async ({ db }) => {
      await db.createQueue(`small${number}`, { payload_bytes_max: 10_000 });
      const queue = JSON.stringify(`small${number}`);
      const bomb = many(1_500, number);
      expect(await db.one('select howdah._number_flaw($1::text::jsonb, 10000)', [bomb])).toBe(
        'long',
      );
      for (const call of ['enqueue($1::text::jsonb)', 'enqueue_many($1)']) {
        const job = `{"queue": ${queue}, "payload": ${bomb}}`;
        expect(await sqlError(db.rows(`select howdah.${call}`, [job]))).toMatchObject({
          code: 'HW011',
          message: expect.stringContaining('too many bytes'),
        });
      }
    });
  }

  test('what fits is not, nor what only looks so', async ({ db }) => {
    await db.createQueue('fits', { payload_bytes_max: 10_000 });
    for (const payload of [
      many(30, '1e300'),
      many(300, '1e21'),
      many(3_000, '1'),
      '"[1e300,1e300]"',
    ]) {
      await db.rows('select howdah.enqueue_many($1)', [`{"queue": "fits", "payload": ${payload}}`]);
    }
    expect(
      await sqlError(
        db.rows('select howdah.enqueue_many($1)', [
          `{"queue": "fits", "payload": ${many(40, '1e300')}}`,
        ]),
      ),
    ).toMatchObject({ code: 'HW011' });
  });
});
