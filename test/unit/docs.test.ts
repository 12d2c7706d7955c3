import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../../src/core/errors.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

test('docs/errors.md has every code as the code has it', () => {
  const expected = Object.entries(ERROR_CODES).map(([code, entry]) => {
    const cells = [code, entry.sqlstate ?? '', entry.isRetryable ? 'yes' : '', entry.summary];
    return `|${cells.map((cell) => (cell === '' ? ' |' : ` ${cell} |`)).join('')}`;
  });
  const rows = read('docs/errors.md')
    .split('\n')
    .filter((line) => line.startsWith('| HOWDAH_'));
  expect(rows).toEqual(expected);
});

describe('docs/sql.md', () => {
  const text = read('docs/sql.md');
  const migrations = readdirSync(path.join(ROOT, 'migrations')).map((file) =>
    read(`migrations/${file}`),
  );

  test('names every policy key with its default', () => {
    const table = /create table {{schema}}\.queues \(([\s\S]*?)-- operator/.exec(
      migrations[1] ?? '',
    )?.[1];
    const columns = [...(table ?? '').matchAll(/^ {2}(\w+) +\w+.*?(?:default ('?)(.+?)\2)?,$/gm)]
      .map(([, name = '', , value]) => [name.replace(/_id$/, ''), value ?? 'null'] as const)
      .filter(([name]) => name !== '' && name !== 'id' && name !== 'name');
    expect(columns.length).toBe(27);
    for (const [name, value] of columns) {
      const row = text.split('\n').findLast((line) => line.startsWith(`| \`${name}\` |`));
      const byDefault = row?.split('|').at(-2)?.replaceAll('`', '').trim();
      expect(byDefault, name).toBe(name === 'dead_letter_queue' ? 'dead-letters' : value);
    }
  });

  test('shows the parameters of every function that people call', () => {
    const INTERNAL =
      /^(clock|apply_policy|queue_id_of|lane_starts|next_lane|ready_lanes|lock_lease|notify_lease|ring_queue|ring_promoter|parse_time|run_at_of|is_out_of_range|job_problem|describe_problem|lock_queues|names_of|mark_lease|refuse_claim|finish|put_back|bury|backoff_ms|add_error|settle_one|is_bad_dedupe|is_too_long|is_too_deep|text_bytes|has_exponent|is_wide|number_flaw|number_problem|has_wide_options|kept_result|waiting_in|fold_deltas|begin_counting|retry_after_ms|drop_oldest|supersede|admit|full_details|smoothed_rate|settle_or_raise|held_jobs|find_dead|redrive_one|queue_size|give_back|create_partitions|drop_partitions|left_group|try_group|change_groups|seize_group|fold_groups|open_groups|begin_opening|lock_jobs|is_weight_wrong|ms_until|bucket_size|return_permits|note_outcome|note_completions|hold_queue|move_circuit|fold_limit|refill_ms|room_of|pick_within|charge|close_room|age_queue|error_fingerprint|settle_single|let_go|order_drain|plain_lane|lane_priority|is_alone|suspect_lane|claim_limit|pass_gate|pace_members|prune_group_rates|take_followers|is_behind|return_follower|new_head|ring_scheduler|schedule_job|ms_to_time|check_schedule|schedule_id_of|enqueue_runs|tell_watchers|drop_watches|add_lines|find_unfinished|apply_edit|batch_problem|with_counts|note_added|note_ended|note_completed|follows_plainly|rejoin_batch|fold_batch|finish_batch|check_topic|lane_floor|raise_floor|look_behind|decide_numbers|enqueue_plain|enqueue_each|lost_outcome|has_options|with_header|is_pending|attempts_of|day_start|create_partition|history_kept|clear_default|bury_orphans|add_lane|oldest_ready|is_wanted|key_until|lock_keys|has_room|queues_in_use|forget_queues|fits_dead|is_bad_plan|delta_bytes|history_of|note_days|lagging_sequences|missing_rows)$/;
    const created = migrations.flatMap((migration) => [
      ...migration.matchAll(/create function {{schema}}\.(\w+)\(([^)]*)\)/g),
    ]);
    expect(created.length).toBeGreaterThan(40);
    const missing = created.flatMap(([, name = '', list = '']) => {
      if (INTERNAL.test(name) || name === 'hold_of') return [];
      const parameters = [...list.matchAll(/\bp_\w+/g)].map(([parameter]) => parameter);
      const rows = text.split('\n').filter((line) => line.includes(`\`${name}(`));
      const isShown = rows.some((row) => parameters.every((parameter) => row.includes(parameter)));
      return isShown ? [] : [`${name}(${parameters.join(', ')})`];
    });
    expect(missing).toEqual([]);
  });
});

test('docs/worker.md has every event', () => {
  const source = read('src/core/events.ts');
  const events = [...source.matchAll(/^ {2}'([a-z.-]+)': /gm)].map(([, name = '']) => name);
  expect(events.length).toBeGreaterThan(20);
  const text = read('docs/worker.md');
  expect(events.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

test('links between the documents lead somewhere', () => {
  const docs = readdirSync(path.join(ROOT, 'docs')).filter((file) => file.endsWith('.md'));
  const files = [
    'README.md',
    'src/README.md',
    'CHANGELOG.md',
    ...docs.map((file) => `docs/${file}`),
  ];
  const broken = files.flatMap((file) =>
    [...read(file).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => path.posix.join(path.posix.dirname(file), target))
      .filter((target) => !existsSync(path.join(ROOT, target)))
      .map((target) => `${file} → ${target}`),
  );
  expect(broken).toEqual([]);
});

describe('src/README.md', () => {
  const text = read('src/README.md');

  test('is short', () => {
    expect(text.split('\n').length).toBeLessThanOrEqual(200);
  });

  test('names only paths that exist', () => {
    const existing = new Set(
      ['src', 'migrations', 'test', 'bin', 'bench', 'examples', 'docs'].flatMap((folder) => [
        `${folder}/`,
        ...readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => !entry.parentPath.includes('node_modules'))
          .map((entry) => {
            const name = path.relative(ROOT, path.join(entry.parentPath, entry.name));
            return entry.isDirectory() ? `${name}/` : name;
          }),
      ]),
    );
    const named = [...text.matchAll(/`([a-z0-9_./-]+(?:\/|\.(?:ts|js|sql|md)))`/g)].map(
      ([, name = '']) => name,
    );
    expect(named.length).toBeGreaterThan(40);
    const missing = named.filter((name) => !existing.has(name) && !existing.has(`src/${name}`));
    expect(missing).toEqual([]);
  });

  test('names every folder and every migration', () => {
    const folders = readdirSync(path.join(ROOT, 'src'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `\`${name}/\``);
    const files = readdirSync(path.join(ROOT, 'migrations')).map(
      (file) => `\`migrations/${file}\``,
    );
    expect([...folders, ...files].filter((name) => !text.includes(name))).toEqual([]);
  });
});
