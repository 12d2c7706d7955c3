/** Row types of the views that may be read. `bigint` is text, `timestamptz` is Date. */

export interface JobStatesView {
  id: string;
  queue: string;
  state: 'scheduled' | 'ready' | 'running' | 'dead';
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
  errors: unknown;
  cancel_requested: boolean;
}

export interface HistoryView {
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
  errors: unknown;
  result: unknown;
}

export interface JobsAllView {
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
  errors: unknown;
  result: unknown;
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
  errors: unknown;
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
  dead_letter_queue: string;
  paused_at: Date | null;
  paused_reason: string | null;
  created_at: Date;
}

/** The views by name, for Kysely. */
export interface Tables {
  job_states: JobStatesView;
  history_view: HistoryView;
  jobs_all: JobsAllView;
  queue_stats: QueueStatsView;
  dead_letters: DeadLettersView;
  workers: WorkersView;
  queue_policies: QueuePoliciesView;
}
