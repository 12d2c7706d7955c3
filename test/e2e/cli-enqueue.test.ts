import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createClient } from 'howdah';
import type pg from 'pg';
import { describe, expect, vi } from 'vitest';
import { makeFolder, runCli } from '../support/cli.js';
import { test } from '../support/database.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

async function makeQueue(url: string, queue: string): Promise<void> {
  const client = createClient({ url });
  await client.queues.create(queue, { payloadBytesMax: 200 });
  await client.close();
}

async function payloads(pool: pg.Pool, queue: string): Promise<unknown[]> {
  const { rows } = await pool.query(
    'select payload from howdah.job_states where queue = $1 order by id',
    [queue],
  );
  return rows.map(({ payload }) => payload);
}

describe('one job', () => {
  test('with options', async ({ url, pool }) => {
    await makeQueue(url, 'one');
    const { code, json } = await runCli(
      [
        'enqueue',
        'one',
        '{"to":"ada"}',
        '--priority',
        '7',
        '--delay',
        '1h',
        '--attempts',
        '3',
        '--ttl',
        '2h',
        '--headers',
        '{"trace":"t"}',
        '--json',
      ],
      { url },
    );
    expect(code).toBe(0);
    const { rows } = await pool.query('select * from howdah.job_states where id = $1', [
      json[0]?.id,
    ]);
    expect(rows[0]).toMatchObject({
      payload: { to: 'ada' },
      priority: 7,
      max_attempts: 3,
      headers: { trace: 't' },
      state: 'scheduled',
    });
  });

  test('bad input: a stable code, exit code 2, nothing written', async ({ url, pool }) => {
    await makeQueue(url, 'bad');
    const cases = [
      [['bad', '{"a":"\\u0000"}'], 'HOWDAH_PAYLOAD_INVALID'],
      [['bad', JSON.stringify('x'.repeat(500))], 'HOWDAH_PAYLOAD_TOO_LARGE'],
      [['bad', '1', '--delay=-5s'], 'HOWDAH_DELAY_INVALID'],
      [['bad', '1', '--run-at', '1970-01-01T00:00:00Z'], 'HOWDAH_RUN_AT_INVALID'],
      [['bad', '1', '--headers', '[]'], 'HOWDAH_HEADERS_INVALID'],
    ] as const;
    for (const [args, error] of cases) {
      const { code, stderr } = await runCli(['enqueue', ...args], { url });
      expect([code, stderr]).toEqual([2, expect.stringContaining(`error ${error}: `)]);
    }
    expect((await runCli(['enqueue', 'nowhere', '1'], { url })).code).toBe(3);
    expect(await payloads(pool, 'bad')).toEqual([]);
  });
});

const LINES = [
  '\ufeff{"n":1}',
  '',
  '{"n":2}\r',
  '{bad}',
  '{"n":3}',
  '{"zero":"\\u0000"}',
  JSON.stringify('x'.repeat(500)),
  '{"n":4}', // without a line end
].join('\n');

describe('JSON lines', () => {
  test('stop: everything before the malformed line, nothing after it', async ({ url, pool }) => {
    await makeQueue(url, 'stop');
    const folder = makeFolder({ 'a.jsonl': LINES });
    const { code, json, stderr } = await runCli(
      ['enqueue', 'stop', '--from', path.join(folder, 'a.jsonl'), '--json'],
      { url },
    );
    expect(code).toBe(1);
    expect(json).toEqual([{ read: 3, enqueued: 2, rejected: 1, stoppedAtLine: 4 }]);
    expect(stderr).toContain('error HOWDAH_PAYLOAD_INVALID: Line 4 is not JSON');
    expect(await payloads(pool, 'stop')).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test('stop at a line that the database refuses', async ({ url, pool }) => {
    await makeQueue(url, 'stop2');
    const input = `1\n2\n\n${JSON.stringify('x'.repeat(500))}\n4\n5\n`;
    const { code, json } = await runCli(['enqueue', 'stop2', '--from', '-', '--json'], {
      url,
      input,
    });
    expect(code).toBe(1);
    expect(json).toEqual([{ read: 5, enqueued: 2, rejected: 1, notTried: 2, stoppedAtLine: 4 }]);
    expect(await payloads(pool, 'stop2')).toEqual([1, 2]);
  });

  test('skip: the rest is not lost, and --rejects keeps what was', async ({ url, pool }) => {
    await makeQueue(url, 'skip');
    const folder = makeFolder({ 'a.jsonl': LINES });
    const rejects = path.join(folder, 'rejects.jsonl');
    const { code, json, stderr } = await runCli(
      [
        'enqueue',
        'skip',
        '--from',
        path.join(folder, 'a.jsonl'),
        '--on-error',
        'skip',
        '--rejects',
        rejects,
        '--json',
      ],
      { url },
    );
    expect(code).toBe(4);
    expect(json).toEqual([{ read: 7, enqueued: 4, rejected: 3 }]);
    expect(stderr).toMatch(
      /^line 4 is not JSON.*\nline 6 is refused: .*\nline 7 is refused: .*\n$/,
    );
    expect(await payloads(pool, 'skip')).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
    const kept = readFileSync(rejects, 'utf8')
      .trimEnd()
      .split('\n')
      .map((each) => JSON.parse(each));
    expect(kept.map(({ line }) => line)).toEqual([4, 6, 7]);
    expect(kept[0].text).toBe('{bad}');
  });

  test('an unknown queue ends it at once, also with skip', async ({ url }) => {
    const { code, json } = await runCli(
      ['enqueue', 'nowhere', '--from', '-', '--on-error', 'skip', '--json'],
      { url, input: '1\n2\n' },
    );
    expect(code).toBe(3);
    expect(json).toEqual([{ read: 2, enqueued: 0, rejected: 0, notTried: 2, stoppedAtLine: 1 }]);
  });

  test('thousands of lines, in their order', async ({ url, pool }) => {
    await makeQueue(url, 'many');
    const lines = Array.from({ length: 5_500 }, (_, n) => (n % 1_000 === 999 ? 'oops' : `${n}`));
    const { code, json } = await runCli(
      ['enqueue', 'many', '--from', '-', '--on-error', 'skip', '--json'],
      { url, input: lines.join('\n') },
    );
    expect(code).toBe(4);
    expect(json).toEqual([{ read: 5_500, enqueued: 5_495, rejected: 5 }]);
    expect(await payloads(pool, 'many')).toEqual(
      lines.filter((line) => line !== 'oops').map(Number),
    );
  });

  test('files that cannot be read', async ({ url }) => {
    const folder = makeFolder({});
    const codes = [
      await runCli(['enqueue', 'many', '--from', path.join(folder, 'none.jsonl')], { url }),
      await runCli(['enqueue', 'many', '--from', folder], { url }),
    ].map(({ code }) => code);
    expect(codes).toEqual([2, 2]);
  });
});

const CSV = [
  '\ufeffid,name,text\r',
  '1,"A, b","two\r',
  'lines"\r',
  '2,short\r',
  '3,"x"y,z\r',
  '4,ok,fine\r',
  '',
  '5,"never closed,hm\r',
  '6,f,g\r',
  '7,h,Zürich',
].join('\n');

describe('CSV', () => {
  test('skip: a stray quote costs its line and no other', async ({ url, pool }) => {
    await makeQueue(url, 'csv');
    const folder = makeFolder({ 'a.csv': CSV });
    const { code, json, stderr } = await runCli(
      ['enqueue', 'csv', '--from', path.join(folder, 'a.csv'), '--on-error', 'skip', '--json'],
      { url },
    );
    expect(code).toBe(4);
    expect(json).toEqual([{ read: 7, enqueued: 4, rejected: 3 }]);
    expect(stderr).toBe(
      [
        'line 4 has 2 fields where the header has 3',
        'line 5 has a quote in the wrong place',
        'line 8 has a quote that is not closed\n',
      ].join('\n'),
    );
    expect(await payloads(pool, 'csv')).toEqual([
      { id: '1', name: 'A, b', text: 'two\nlines' },
      { id: '4', name: 'ok', text: 'fine' },
      { id: '6', name: 'f', text: 'g' },
      { id: '7', name: 'h', text: 'Zürich' },
    ]);
  });

  test('stop, from standard input', async ({ url, pool }) => {
    await makeQueue(url, 'csv2');
    const { code, json, stderr } = await runCli(
      ['enqueue', 'csv2', '--from', '-', '--format', 'csv', '--json'],
      { url, input: CSV },
    );
    expect(code).toBe(1);
    expect(json).toEqual([{ read: 2, enqueued: 1, rejected: 1, stoppedAtLine: 4 }]);
    expect(stderr).toContain('Line 4 has 2 fields where the header has 3.');
    expect(await payloads(pool, 'csv2')).toHaveLength(1);
  });

  test('another delimiter; headers that cannot be used', async ({ url, pool }) => {
    await makeQueue(url, 'csv3');
    const tabs = await runCli(
      ['enqueue', 'csv3', '--from', '-', '--format', 'csv', '--delimiter', 'tab', '--json'],
      { url, input: 'a\tb\n1,5\t2\n' },
    );
    expect(tabs.json).toEqual([{ read: 1, enqueued: 1, rejected: 0 }]);
    expect(await payloads(pool, 'csv3')).toEqual([{ a: '1,5', b: '2' }]);
    const { code, stderr } = await runCli(['enqueue', 'csv3', '--from', '-', '--format', 'csv'], {
      url,
      input: 'a,a\n1,2\n',
    });
    expect([code, stderr]).toEqual([2, expect.stringContaining('The header row has')]);
  });
});
