import type { JobError } from '../core/job/job.js';

/** Row types of the views that may be read. `bigint` is text, `timestamptz` is Date. */

interface JobStatesView {
  id: string;
  queue: string;
  state: 'scheduled' | 'blocked' | 'ready' | 'running' | 'dead';
  priority: number | null;
  attempt: number;
  max_attempts: number;
  crashes: number;
  enqueued_at: Date;
  run_at: Date | null;
  claimed_at: Date | null;
  expires_at: Date | null;
  worker: string | null;
  origin_queue: string | null;
  dead_at: Date | null;
  dead_reason: string | null;
  last_error: string | null;
  payload: unknown;
  headers: unknown;
  errors: JobError[] | null;
  cancel_requested: boolean;
  group_key: string | null;
  batch_id: string | null;
}

interface HistoryView {
  id: string;
  queue: string;
  state: string;
  priority: number;
  attempt: number;
  reason: string | null;
  worker: string | null;
  enqueued_at: Date;
  claimed_at: Date | null;
  finished_at: Date;
  last_error: string | null;
  payload: unknown;
  headers: unknown;
  errors: JobError[] | null;
  result: unknown;
  group_key: string | null;
  batch_id: string | null;
}

export interface JobsView {
  id: string;
  queue: string;
  state: string;
  priority: number | null;
  attempt: number;
  enqueued_at: Date;
  run_at: Date | null;
  claimed_at: Date | null;
  finished_at: Date | null;
  worker: string | null;
  reason: string | null;
  last_error: string | null;
  payload: unknown;
  headers: unknown;
  errors: JobError[] | null;
  result: unknown;
  group_key: string | null;
  batch_id: string | null;
}

export interface QueueStatsView {
  queue: string;
  ready: string;
  scheduled: string;
  running: string;
  dead: string;
  enqueued: string;
  completed: string;
  failed_attempts: string;
  buried: string;
  cancelled: string;
  expired: string;
  discarded: string;
  backlog_age_ms: string | null;
  paused: boolean;
  paused_reason: string | null;
  blocked: string;
  paused_until: Date | null;
  limited_until: Date | null;
  limited_reason: string | null;
  circuit: 'closed' | 'open' | 'half-open' | null;
  circuit_until: Date | null;
  circuit_reason: string | null;
  closed: boolean;
  closed_reason: string | null;
  max_depth: number | null;
  max_bytes: string | null;
  waiting_bytes: string | null;
}

export interface DeadLettersView {
  id: string;
  queue: string | null;
  dead_letter_queue: string;
  reason: string | null;
  last_error: string | null;
  fingerprint: string | null;
  errors_count: number;
  dead_at: Date;
  enqueued_at: Date;
  payload: unknown;
  headers: unknown;
  errors: JobError[] | null;
}

export interface WorkersView {
  lease_id: string;
  worker: string;
  opened_at: Date;
  expires_at: Date;
  lease_ms: number;
  alive: boolean;
  leads: boolean;
  draining: boolean;
  info: unknown;
}

export interface QueuePoliciesView {
  queue: string;
  max_attempts: number;
  backoff: 'exponential' | 'fixed';
  backoff_ms: number;
  backoff_max_ms: number;
  backoff_jitter: number;
  timeout_ms: number | null;
  ttl_ms: string | null;
  delay_ms: string;
  payload_bytes_max: number;
  retention_ms: string;
  max_crashes: number;
  visibility_ms: number;
  group_concurrency: number;
  group_rate_max: number | null;
  group_rate_ms: number;
  group_rate_burst: number;
  concurrency_max: number | null;
  rate_max: number | null;
  rate_ms: number;
  rate_burst: number | null;
  breaker_failures: number | null;
  breaker_window_ms: number;
  breaker_cooldown_ms: number;
  ageing_ms: string | null;
  dead_letter_queue: string;
  paused_at: Date | null;
  paused_reason: string | null;
  paused_until: Date | null;
  created_at: Date;
  max_depth: number | null;
  max_bytes: string | null;
  closed_at: Date | null;
  closed_reason: string | null;
}

export interface BlockedGroupsView {
  queue: string;
  group_key: string;
  waiting: number;
  admitted: number;
  group_concurrency: number;
  head_id: string | null;
  head_state: 'running' | 'ready' | 'scheduled' | null;
  reason: string;
  since: Date;
}

export interface BatchesView {
  id: string;
  name: string | null;
  state: 'open' | 'closed' | 'completed' | 'failed';
  total: string;
  pending: string;
  completed: string;
  failed: string;
  on_complete_queue: string | null;
  job_id: string | null;
  problem: string | null;
  opened_at: Date;
  closed_at: Date | null;
  finished_at: Date | null;
}

export interface TopicsView {
  topic: string;
  queue: string;
  subscribed_at: Date;
}

export interface SchedulesView {
  name: string;
  owner: string | null;
  queue: string;
  cron: string;
  zone: string;
  missed: 'skip' | 'once' | 'all';
  missed_max: number;
  payload: unknown;
  headers: unknown;
  options: unknown;
  paused: boolean;
  paused_at: Date | null;
  paused_reason: string | null;
  next_at: Date | null;
  after_at: Date;
  error: string | null;
  last_at: Date | null;
  last_outcome: 'enqueued' | 'duplicate' | 'refused' | 'skipped' | null;
  last_error: string | null;
  last_job_id: string | null;
  last_job_state: string | null;
  last_job_finished_at: Date | null;
  last_job_error: string | null;
  /** Whole, for it may be encoded. */
  last_job_error_json: JobError | null;
  created_at: Date;
  updated_at: Date;
}

export interface ScheduleRunsView {
  name: string;
  nominal_at: Date;
  outcome: 'enqueued' | 'duplicate' | 'refused' | 'skipped';
  job_id: string | null;
  error: string | null;
  decided_at: Date;
}

interface JobProgressView {
  id: string;
  progress: unknown;
  progress_at: Date | null;
  log_lines: number;
  reported_at: Date;
}

interface JobLogsView {
  id: string;
  n: number;
  at: Date;
  attempt: number;
  level: string;
  message: string;
  fields: unknown;
}

/** The views by name, for Kysely. */
export interface Tables {
  job_progress: JobProgressView;
  job_logs: JobLogsView;
  job_states: JobStatesView;
  history: HistoryView;
  jobs: JobsView;
  queue_stats: QueueStatsView;
  dead_letters: DeadLettersView;
  workers: WorkersView;
  queue_policies: QueuePoliciesView;
  blocked_groups: BlockedGroupsView;
  batches: BatchesView;
  topics: TopicsView;
  schedules: SchedulesView;
  schedule_runs: ScheduleRunsView;
}
