column _batch_deltas.batch_id bigint not null
column _batch_deltas.id bigint not null
column _batch_deltas.added integer not null default 0
column _batch_deltas.completed integer not null default 0
column _batch_deltas.failed integer not null default 0
column _batches.id bigint not null
column _batches.name text
column _batches.on_complete jsonb
column _batches.opened_at timestamp with time zone not null default howdah.clock()
column _batches.closed_at timestamp with time zone
column _batches.finished_at timestamp with time zone
column _batches.total bigint not null default 0
column _batches.completed bigint not null default 0
column _batches.failed bigint not null default 0
column _batches.job_id bigint
column _batches.problem text
column _batches.retry_at timestamp with time zone
column _counter_deltas.id bigint not null
column _counter_deltas.queue_id integer not null
column _counter_deltas.ready integer not null default 0
column _counter_deltas.scheduled integer not null default 0
column _counter_deltas.running integer not null default 0
column _counter_deltas.dead integer not null default 0
column _counter_deltas.enqueued integer not null default 0
column _counter_deltas.completed integer not null default 0
column _counter_deltas.failed integer not null default 0
column _counter_deltas.cancelled integer not null default 0
column _counter_deltas.expired integer not null default 0
column _counter_deltas.buried integer not null default 0
column _counter_deltas.discarded integer not null default 0
column _counter_deltas.blocked integer not null default 0
column _counter_deltas.bytes bigint
column _counters.queue_id integer not null
column _counters.ready bigint not null default 0
column _counters.scheduled bigint not null default 0
column _counters.running bigint not null default 0
column _counters.dead bigint not null default 0
column _counters.enqueued bigint not null default 0
column _counters.completed bigint not null default 0
column _counters.failed bigint not null default 0
column _counters.cancelled bigint not null default 0
column _counters.expired bigint not null default 0
column _counters.buried bigint not null default 0
column _counters.discarded bigint not null default 0
column _counters.blocked bigint not null default 0
column _counters.bytes bigint not null default 0
column _counters.rate double precision not null default 0
column _counters.rated_at timestamp with time zone not null default howdah.clock()
column _dedupes.queue_id integer not null
column _dedupes.key text not null
column _dedupes.job_id bigint not null
column _dedupes.digest bytea not null
column _dedupes.expires_at timestamp with time zone not null
column _group_changes.id bigint not null
column _group_changes.queue_id integer not null
column _group_changes.key text not null
column _group_changes.admitted integer not null
column _group_changes.waiting integer not null
column _group_changes.mark bigint
column _group_changes.head_id bigint
column _group_openings.queue_id integer not null
column _group_openings.after text not null default ''::text
column _group_openings.is_skipped boolean not null default false
column _group_rates.queue_id integer not null
column _group_rates.key text not null
column _group_rates.next_at timestamp with time zone not null
column _groups.queue_id integer not null
column _groups.key text not null
column _groups.admitted integer not null
column _groups.waiting integer not null
column _groups.mark bigint not null
column _groups.head_id bigint
column _groups.head_at timestamp with time zone
column _history.id bigint not null
column _history.finished_at timestamp with time zone not null
column _history.enqueued_at timestamp with time zone not null
column _history.claimed_at timestamp with time zone
column _history.queue_id integer not null
column _history.attempt integer not null
column _history.lane smallint not null
column _history.state text not null
column _history.reason text
column _history.worker text
column _history.payload jsonb not null
column _history.headers jsonb
column _history.errors jsonb
column _history.result jsonb
column _history.group_key text
column _history.batch_id bigint
column _history_days.day date not null
column _history_days.low_id bigint
column _history_days.high_id bigint
column _history_days.noted_at timestamp with time zone
column _holds.queue_id integer not null
column _holds.until timestamp with time zone not null
column _holds.id bigint not null
column _holds.reason text not null
column _holds.at timestamp with time zone not null
column _jobs.id bigint not null
column _jobs.enqueued_at timestamp with time zone not null
column _jobs.queue_id integer not null
column _jobs.attempt integer not null default 0
column _jobs.uncounted integer not null default 0
column _jobs.lane smallint not null
column _jobs.crashes smallint not null default 0
column _jobs.cancel_requested boolean not null default false
column _jobs.seq bigint
column _jobs.lease_id bigint
column _jobs.claimed_at timestamp with time zone
column _jobs.dead_at timestamp with time zone
column _jobs.batch_id bigint
column _jobs.group_key text
column _jobs.payload jsonb not null
column _jobs.expires_at timestamp with time zone
column _jobs.max_attempts smallint
column _jobs.headers jsonb
column _jobs.errors jsonb
column _jobs.bytes integer
column _jobs.run_at timestamp with time zone
column _jobs.origin_queue_id integer
column _jobs.weight smallint
column _jobs.permit smallint
column _jobs.dead_reason text
column _jobs.after_id bigint
column _jobs.group_seq bigint
column _jobs.follow_seq bigint
column _jobs.cancel_reason text
column _lane_floors.queue_id integer not null
column _lane_floors.lane smallint not null
column _lane_floors.seq bigint not null
column _lane_floors.rewind_seq bigint
column _lane_floors.swept_seq bigint
column _leader.is_only boolean not null default true
column _leader.term bigint not null default 0
column _leader.lease_id bigint not null default 0
column _leader.expires_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column _lease_marks.lease_id bigint not null
column _lease_marks.queue_id integer not null
column _lease_marks.lane smallint not null
column _lease_marks.low_seq bigint not null
column _lease_marks.seen_seq bigint not null
column _lease_marks.high_seq bigint not null
column _lease_marks.marked_at timestamp with time zone not null
column _lease_notices.lease_id bigint not null
column _lease_notices.id bigint not null
column _lease_notices.drain_reason text
column _leases.id bigint not null
column _leases.worker text not null
column _leases.lease_ms integer not null
column _leases.opened_at timestamp with time zone not null
column _leases.expires_at timestamp with time zone not null
column _leases.held integer
column _leases.due_at timestamp with time zone
column _leases.info jsonb not null default '{}'::jsonb
column _leases.aside bigint[]
column _leases.company bigint[]
column _left_settles.lease_id bigint not null
column _left_settles.job_id bigint not null
column _left_settles.attempt integer not null
column _left_settles.ask jsonb not null
column _limit_deltas.queue_id integer not null
column _limit_deltas.id bigint not null
column _limit_deltas.permits integer not null default 0
column _limit_deltas.failed_at timestamp with time zone
column _limit_deltas.succeeded boolean not null default false
column _limits.queue_id integer not null
column _limits.epoch bigint not null default 0
column _limits.running integer not null default 0
column _limits.is_hit boolean not null default false
column _limits.tokens double precision not null default 1000000
column _limits.refilled_at timestamp with time zone not null default howdah.clock()
column _limits.circuit text not null default 'closed'::text
column _limits.circuit_until timestamp with time zone
column _limits.circuit_reason text
column _limits.circuit_ms integer
column _limits.probe_at timestamp with time zone
column _limits.failed_at timestamp with time zone[] not null default '{}'::timestamp with time zone[]
column _limits.mark bigint not null default 0
column _limits.next_mark bigint not null default 0
column _limits.marked_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column _limits.folded_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column _locks.id integer not null
column _pills.job_id bigint not null
column _pills.mode text not null
column _pills.placed_at timestamp with time zone not null
column _queues.id integer not null
column _queues.name text not null
column _queues.max_attempts smallint not null default 10
column _queues.backoff text not null default 'exponential'::text
column _queues.backoff_ms integer not null default 5000
column _queues.backoff_max_ms integer not null default 3600000
column _queues.backoff_jitter real not null default 0.2
column _queues.timeout_ms integer default 300000
column _queues.ttl_ms bigint
column _queues.delay_ms bigint not null default 0
column _queues.visibility_ms integer not null default 30000
column _queues.payload_bytes_max integer not null default 1048576
column _queues.retention_ms bigint not null default 86400000
column _queues.max_crashes smallint not null default 3
column _queues.group_concurrency integer not null default 1
column _queues.group_rate_max integer
column _queues.group_rate_ms integer not null default 1000
column _queues.group_rate_burst integer not null default 1
column _queues.concurrency_max integer
column _queues.rate_max integer
column _queues.rate_ms integer not null default 1000
column _queues.rate_burst integer
column _queues.breaker_failures smallint
column _queues.breaker_window_ms integer not null default 60000
column _queues.breaker_cooldown_ms integer not null default 30000
column _queues.ageing_ms bigint
column _queues.dead_letter_queue_id integer not null
column _queues.max_depth integer
column _queues.max_bytes bigint
column _queues.paused_at timestamp with time zone
column _queues.paused_reason text
column _queues.closed_at timestamp with time zone
column _queues.closed_reason text
column _queues.paused_until timestamp with time zone
column _queues.is_watched boolean not null default false
column _queues.is_limited boolean default ((concurrency_max IS NOT NULL) OR (rate_max IS NOT NULL) OR (breaker_failures IS NOT NULL))
column _queues.aged_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column _queues.aged_seq bigint
column _queues.bounded_seq bigint not null default 0
column _queues.is_guarded boolean not null default ((max_depth IS NOT NULL) OR (max_bytes IS NOT NULL) OR (closed_at IS NOT NULL))
column _queues.created_at timestamp with time zone not null default howdah.clock()
column _queues.deleted_at timestamp with time zone
column _report_lines.job_id bigint not null
column _report_lines.n integer not null
column _report_lines.at timestamp with time zone not null
column _report_lines.attempt integer not null
column _report_lines.level text not null
column _report_lines.message text not null
column _report_lines.fields jsonb
column _reports.job_id bigint not null
column _reports.attempt integer not null
column _reports.progress jsonb
column _reports.progress_at timestamp with time zone
column _reports.lines integer not null default 0
column _reports.line_bytes integer not null default 0
column _reports.reported_at timestamp with time zone not null
column _reports.looked_at timestamp with time zone not null default howdah.clock()
column _reports.is_over boolean not null default false
column _schedule_runs.schedule_id bigint not null
column _schedule_runs.nominal_at timestamp with time zone not null
column _schedule_runs.decided_at timestamp with time zone not null
column _schedule_runs.outcome text not null
column _schedule_runs.job_id bigint
column _schedule_runs.error text
column _schedules.id bigint not null
column _schedules.name text not null
column _schedules.owner text
column _schedules.cron text not null
column _schedules.zone text not null
column _schedules.job jsonb not null
column _schedules.bytes integer not null
column _schedules.missed text not null
column _schedules.missed_max integer not null
column _schedules.paused_at timestamp with time zone
column _schedules.paused_reason text
column _schedules.revision bigint not null default 1
column _schedules.after_at timestamp with time zone not null
column _schedules.next_at timestamp with time zone
column _schedules.due_at timestamp with time zone
column _schedules.error text
column _schedules.last_at timestamp with time zone
column _schedules.last_outcome text
column _schedules.last_error text
column _schedules.last_job_id bigint
column _schedules.created_at timestamp with time zone not null
column _schedules.updated_at timestamp with time zone not null
column _seq_horizon.is_only boolean not null default true
column _seq_horizon.decided bigint not null default 0
column _seq_horizon.pending bigint
column _seq_horizon.holders text[] not null default '{}'::text[]
column _sleepers.queue_id integer not null
column _sleepers.lease_id bigint not null
column _subscriptions.topic text not null
column _subscriptions.queue_id integer not null
column _subscriptions.subscribed_at timestamp with time zone not null default howdah.clock()
column _watchers.lease_id bigint not null
column _watches.job_id bigint not null
column _watches.lease_id bigint not null
column _watches.wants_progress boolean not null
column batches.id bigint
column batches.name text
column batches.state text
column batches.total bigint
column batches.pending bigint
column batches.completed bigint
column batches.failed bigint
column batches.on_complete_queue text
column batches.job_id bigint
column batches.problem text
column batches.opened_at timestamp with time zone
column batches.closed_at timestamp with time zone
column batches.finished_at timestamp with time zone
column blocked_groups.queue text
column blocked_groups.group_key text
column blocked_groups.waiting integer
column blocked_groups.admitted integer
column blocked_groups.group_concurrency integer
column blocked_groups.head_id bigint
column blocked_groups.head_state text
column blocked_groups.reason text
column blocked_groups.since timestamp with time zone
column dead_letters.id bigint
column dead_letters.queue text
column dead_letters.dead_letter_queue text
column dead_letters.reason text
column dead_letters.last_error text
column dead_letters.fingerprint text
column dead_letters.errors_count integer
column dead_letters.dead_at timestamp with time zone
column dead_letters.enqueued_at timestamp with time zone
column dead_letters.payload jsonb
column dead_letters.headers jsonb
column dead_letters.errors jsonb
column hidden_jobs.queue text
column hidden_jobs.id bigint
column hidden_jobs.lane smallint
column hidden_jobs.seq bigint
column hidden_jobs.floor bigint
column hidden_jobs.enqueued_at timestamp with time zone
column history.id bigint
column history.queue text
column history.state text
column history.priority integer
column history.attempt integer
column history.reason text
column history.worker text
column history.enqueued_at timestamp with time zone
column history.claimed_at timestamp with time zone
column history.finished_at timestamp with time zone
column history.last_error text
column history.payload jsonb
column history.headers jsonb
column history.errors jsonb
column history.result jsonb
column history.group_key text
column history.batch_id bigint
column job_logs.id bigint
column job_logs.n integer
column job_logs.at timestamp with time zone
column job_logs.attempt integer
column job_logs.level text
column job_logs.message text
column job_logs.fields jsonb
column job_progress.id bigint
column job_progress.progress jsonb
column job_progress.progress_at timestamp with time zone
column job_progress.log_lines integer
column job_progress.reported_at timestamp with time zone
column job_states.id bigint
column job_states.queue text
column job_states.state text
column job_states.priority integer
column job_states.attempt integer
column job_states.max_attempts smallint
column job_states.crashes smallint
column job_states.enqueued_at timestamp with time zone
column job_states.run_at timestamp with time zone
column job_states.claimed_at timestamp with time zone
column job_states.expires_at timestamp with time zone
column job_states.worker text
column job_states.origin_queue text
column job_states.dead_at timestamp with time zone
column job_states.dead_reason text
column job_states.last_error text
column job_states.payload jsonb
column job_states.headers jsonb
column job_states.errors jsonb
column job_states.cancel_requested boolean
column job_states.group_key text
column job_states.batch_id bigint
column jobs.id bigint
column jobs.queue text
column jobs.state text
column jobs.priority integer
column jobs.attempt integer
column jobs.enqueued_at timestamp with time zone
column jobs.run_at timestamp with time zone
column jobs.claimed_at timestamp with time zone
column jobs.finished_at timestamp with time zone
column jobs.worker text
column jobs.reason text
column jobs.last_error text
column jobs.payload jsonb
column jobs.headers jsonb
column jobs.errors jsonb
column jobs.result jsonb
column jobs.group_key text
column jobs.batch_id bigint
column queue_policies.queue text
column queue_policies.max_attempts smallint
column queue_policies.backoff text
column queue_policies.backoff_ms integer
column queue_policies.backoff_max_ms integer
column queue_policies.backoff_jitter real
column queue_policies.timeout_ms integer
column queue_policies.ttl_ms bigint
column queue_policies.delay_ms bigint
column queue_policies.payload_bytes_max integer
column queue_policies.retention_ms bigint
column queue_policies.max_crashes smallint
column queue_policies.group_concurrency integer
column queue_policies.group_rate_max integer
column queue_policies.group_rate_ms integer
column queue_policies.group_rate_burst integer
column queue_policies.max_depth integer
column queue_policies.max_bytes bigint
column queue_policies.concurrency_max integer
column queue_policies.rate_max integer
column queue_policies.rate_ms integer
column queue_policies.rate_burst integer
column queue_policies.breaker_failures smallint
column queue_policies.breaker_window_ms integer
column queue_policies.breaker_cooldown_ms integer
column queue_policies.ageing_ms bigint
column queue_policies.visibility_ms integer
column queue_policies.dead_letter_queue text
column queue_policies.paused_at timestamp with time zone
column queue_policies.paused_reason text
column queue_policies.paused_until timestamp with time zone
column queue_policies.created_at timestamp with time zone
column queue_policies.closed_at timestamp with time zone
column queue_policies.closed_reason text
column queue_stats.queue text
column queue_stats.ready bigint
column queue_stats.scheduled bigint
column queue_stats.running bigint
column queue_stats.dead bigint
column queue_stats.enqueued bigint
column queue_stats.completed bigint
column queue_stats.failed_attempts bigint
column queue_stats.buried bigint
column queue_stats.cancelled bigint
column queue_stats.expired bigint
column queue_stats.discarded bigint
column queue_stats.backlog_age_ms bigint
column queue_stats.paused boolean
column queue_stats.paused_reason text
column queue_stats.paused_until timestamp with time zone
column queue_stats.limited_until timestamp with time zone
column queue_stats.limited_reason text
column queue_stats.circuit text
column queue_stats.circuit_until timestamp with time zone
column queue_stats.circuit_reason text
column queue_stats.closed boolean
column queue_stats.closed_reason text
column queue_stats.max_depth integer
column queue_stats.max_bytes bigint
column queue_stats.waiting_bytes bigint
column queue_stats.blocked bigint
column schedule_runs.name text
column schedule_runs.nominal_at timestamp with time zone
column schedule_runs.outcome text
column schedule_runs.job_id bigint
column schedule_runs.error text
column schedule_runs.decided_at timestamp with time zone
column schedules.name text
column schedules.owner text
column schedules.queue text
column schedules.cron text
column schedules.zone text
column schedules.missed text
column schedules.missed_max integer
column schedules.payload jsonb
column schedules.headers jsonb
column schedules.options jsonb
column schedules.paused boolean
column schedules.paused_at timestamp with time zone
column schedules.paused_reason text
column schedules.next_at timestamp with time zone
column schedules.after_at timestamp with time zone
column schedules.error text
column schedules.last_at timestamp with time zone
column schedules.last_outcome text
column schedules.last_error text
column schedules.last_job_id bigint
column schedules.last_job_state text
column schedules.last_job_finished_at timestamp with time zone
column schedules.last_job_error text
column schedules.last_job_error_json jsonb
column schedules.created_at timestamp with time zone
column schedules.updated_at timestamp with time zone
column topics.topic text
column topics.queue text
column topics.subscribed_at timestamp with time zone
column workers.lease_id bigint
column workers.worker text
column workers.opened_at timestamp with time zone
column workers.expires_at timestamp with time zone
column workers.lease_ms integer
column workers.alive boolean
column workers.leads boolean
column workers.draining boolean
column workers.info jsonb
constraint batch_deltas_pkey on howdah._batch_deltas PRIMARY KEY (batch_id, id)
constraint batches_pkey on howdah._batches PRIMARY KEY (id)
constraint counter_deltas_pkey on howdah._counter_deltas PRIMARY KEY (id)
constraint counters_pkey on howdah._counters PRIMARY KEY (queue_id)
constraint dedupes_pkey on howdah._dedupes PRIMARY KEY (queue_id, key)
constraint group_changes_pkey on howdah._group_changes PRIMARY KEY (id)
constraint group_openings_pkey on howdah._group_openings PRIMARY KEY (queue_id)
constraint group_rates_pkey on howdah._group_rates PRIMARY KEY (queue_id, key)
constraint groups_pkey on howdah._groups PRIMARY KEY (queue_id, key)
constraint history_state_check on howdah._history CHECK ((state = ANY (ARRAY['completed'::text, 'cancelled'::text, 'expired'::text, 'discarded'::text])))
constraint history_days_pkey on howdah._history_days PRIMARY KEY (day)
constraint holds_pkey on howdah._holds PRIMARY KEY (queue_id, until, id)
constraint jobs_pkey on howdah._jobs PRIMARY KEY (id)
constraint lane_floors_pkey on howdah._lane_floors PRIMARY KEY (queue_id, lane)
constraint leader_is_only_check on howdah._leader CHECK (is_only)
constraint leader_pkey on howdah._leader PRIMARY KEY (is_only)
constraint lease_marks_pkey on howdah._lease_marks PRIMARY KEY (lease_id, queue_id, lane)
constraint lease_notices_pkey on howdah._lease_notices PRIMARY KEY (lease_id, id)
constraint leases_pkey on howdah._leases PRIMARY KEY (id)
constraint left_settles_pkey on howdah._left_settles PRIMARY KEY (lease_id, job_id)
constraint limit_deltas_pkey on howdah._limit_deltas PRIMARY KEY (queue_id, id)
constraint limits_circuit_check on howdah._limits CHECK ((circuit = ANY (ARRAY['closed'::text, 'open'::text, 'half-open'::text])))
constraint limits_pkey on howdah._limits PRIMARY KEY (queue_id, epoch)
constraint locks_pkey on howdah._locks PRIMARY KEY (id)
constraint pills_mode_check on howdah._pills CHECK ((mode = ANY (ARRAY['one'::text, 'all'::text])))
constraint pills_pkey on howdah._pills PRIMARY KEY (job_id)
constraint queues_ageing_ms_check on howdah._queues CHECK (((ageing_ms >= 1000) AND (ageing_ms <= '315360000000'::bigint)))
constraint queues_backoff_check on howdah._queues CHECK ((backoff = ANY (ARRAY['exponential'::text, 'fixed'::text])))
constraint queues_backoff_jitter_check on howdah._queues CHECK (((backoff_jitter >= (0)::double precision) AND (backoff_jitter <= (1)::double precision)))
constraint queues_backoff_max_ms_check on howdah._queues CHECK (((backoff_max_ms >= 0) AND (backoff_max_ms <= 2147483647)))
constraint queues_backoff_ms_check on howdah._queues CHECK (((backoff_ms >= 0) AND (backoff_ms <= 2147483647)))
constraint queues_breaker_cooldown_ms_check on howdah._queues CHECK (((breaker_cooldown_ms >= 1) AND (breaker_cooldown_ms <= 86400000)))
constraint queues_breaker_failures_check on howdah._queues CHECK (((breaker_failures >= 1) AND (breaker_failures <= 100)))
constraint queues_breaker_window_ms_check on howdah._queues CHECK (((breaker_window_ms >= 1) AND (breaker_window_ms <= 86400000)))
constraint queues_concurrency_max_check on howdah._queues CHECK (((concurrency_max >= 1) AND (concurrency_max <= 1000000)))
constraint queues_dead_letter_queue_id_fkey on howdah._queues FOREIGN KEY (dead_letter_queue_id) REFERENCES howdah._queues(id)
constraint queues_delay_ms_check on howdah._queues CHECK (((delay_ms >= 0) AND (delay_ms <= '315360000000'::bigint)))
constraint queues_group_concurrency_check on howdah._queues CHECK (((group_concurrency >= 1) AND (group_concurrency <= 10000)))
constraint queues_group_rate_burst_check on howdah._queues CHECK (((group_rate_burst >= 1) AND (group_rate_burst <= 1000000)))
constraint queues_group_rate_max_check on howdah._queues CHECK (((group_rate_max >= 1) AND (group_rate_max <= 1000000)))
constraint queues_group_rate_ms_check on howdah._queues CHECK (((group_rate_ms >= 1) AND (group_rate_ms <= 86400000)))
constraint queues_max_attempts_check on howdah._queues CHECK (((max_attempts >= 1) AND (max_attempts <= 1000)))
constraint queues_max_bytes_check on howdah._queues CHECK (((max_bytes >= 1) AND (max_bytes <= '1125899906842624'::bigint)))
constraint queues_max_crashes_check on howdah._queues CHECK (((max_crashes >= 1) AND (max_crashes <= 1000)))
constraint queues_max_depth_check on howdah._queues CHECK (((max_depth >= 1) AND (max_depth <= 2147483647)))
constraint queues_name_check on howdah._queues CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text))
constraint queues_payload_bytes_max_check on howdah._queues CHECK (((payload_bytes_max >= 1) AND (payload_bytes_max <= 67108864)))
constraint queues_pkey on howdah._queues PRIMARY KEY (id)
constraint queues_rate_burst_check on howdah._queues CHECK (((rate_burst >= 1) AND (rate_burst <= 1000000)))
constraint queues_rate_max_check on howdah._queues CHECK (((rate_max >= 1) AND (rate_max <= 1000000)))
constraint queues_rate_ms_check on howdah._queues CHECK (((rate_ms >= 1) AND (rate_ms <= 86400000)))
constraint queues_retention_ms_check on howdah._queues CHECK (((retention_ms >= 0) AND (retention_ms <= '315360000000'::bigint)))
constraint queues_timeout_ms_check on howdah._queues CHECK (((timeout_ms >= 1) AND (timeout_ms <= 2147483647)))
constraint queues_ttl_ms_check on howdah._queues CHECK (((ttl_ms >= 1) AND (ttl_ms <= '315360000000'::bigint)))
constraint queues_visibility_ms_check on howdah._queues CHECK (((visibility_ms >= 100) AND (visibility_ms <= 43200000)))
constraint report_lines_pkey on howdah._report_lines PRIMARY KEY (job_id, n)
constraint reports_pkey on howdah._reports PRIMARY KEY (job_id)
constraint schedule_runs_outcome_check on howdah._schedule_runs CHECK ((outcome = ANY (ARRAY['enqueued'::text, 'duplicate'::text, 'refused'::text, 'skipped'::text])))
constraint schedule_runs_pkey on howdah._schedule_runs PRIMARY KEY (schedule_id, nominal_at)
constraint schedules_missed_check on howdah._schedules CHECK ((missed = ANY (ARRAY['skip'::text, 'once'::text, 'all'::text])))
constraint schedules_missed_max_check on howdah._schedules CHECK (((missed_max >= 1) AND (missed_max <= 1000)))
constraint schedules_pkey on howdah._schedules PRIMARY KEY (id)
constraint seq_horizon_is_only_check on howdah._seq_horizon CHECK (is_only)
constraint seq_horizon_pkey on howdah._seq_horizon PRIMARY KEY (is_only)
constraint sleepers_pkey on howdah._sleepers PRIMARY KEY (queue_id, lease_id)
constraint subscriptions_pkey on howdah._subscriptions PRIMARY KEY (topic, queue_id)
constraint subscriptions_topic_check on howdah._subscriptions CHECK ((topic ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text))
constraint watchers_pkey on howdah._watchers PRIMARY KEY (lease_id)
constraint watches_pkey on howdah._watches PRIMARY KEY (job_id, lease_id)
CREATE UNIQUE INDEX batch_deltas_pkey ON howdah._batch_deltas USING btree (batch_id, id)
CREATE INDEX batches_finished_idx ON howdah._batches USING btree (finished_at) WHERE (finished_at IS NOT NULL)
CREATE UNIQUE INDEX batches_pkey ON howdah._batches USING btree (id)
CREATE INDEX batches_retry_idx ON howdah._batches USING btree (retry_at) WHERE (retry_at IS NOT NULL)
CREATE INDEX counter_deltas_bounded_idx ON howdah._counter_deltas USING btree (queue_id) WHERE (bytes IS NOT NULL)
CREATE UNIQUE INDEX counter_deltas_pkey ON howdah._counter_deltas USING btree (id)
CREATE UNIQUE INDEX counters_pkey ON howdah._counters USING btree (queue_id)
CREATE INDEX dedupes_expires_idx ON howdah._dedupes USING btree (expires_at)
CREATE UNIQUE INDEX dedupes_pkey ON howdah._dedupes USING btree (queue_id, key)
CREATE INDEX group_changes_key_idx ON howdah._group_changes USING btree (queue_id, key)
CREATE UNIQUE INDEX group_changes_pkey ON howdah._group_changes USING btree (id)
CREATE UNIQUE INDEX group_openings_pkey ON howdah._group_openings USING btree (queue_id)
CREATE INDEX group_rates_next_idx ON howdah._group_rates USING btree (next_at)
CREATE UNIQUE INDEX group_rates_pkey ON howdah._group_rates USING btree (queue_id, key)
CREATE UNIQUE INDEX groups_pkey ON howdah._groups USING btree (queue_id, key)
CREATE INDEX history_batch_idx ON ONLY howdah._history USING btree (batch_id, id) WHERE (batch_id IS NOT NULL)
CREATE UNIQUE INDEX history_days_pkey ON howdah._history_days USING btree (day)
CREATE INDEX history_id_idx ON ONLY howdah._history USING btree (id)
CREATE UNIQUE INDEX holds_pkey ON howdah._holds USING btree (queue_id, until, id)
CREATE INDEX holds_until_idx ON howdah._holds USING btree (until)
CREATE INDEX jobs_batch_idx ON howdah._jobs USING btree (batch_id, id) WHERE (batch_id IS NOT NULL)
CREATE INDEX jobs_buried_idx ON howdah._jobs USING btree (queue_id, dead_at) WHERE (dead_reason IS NOT NULL)
CREATE INDEX jobs_claim_idx ON howdah._jobs USING btree (queue_id, lane, seq) WHERE (seq IS NOT NULL)
CREATE INDEX jobs_dead_idx ON howdah._jobs USING btree (dead_at) WHERE (dead_at IS NOT NULL)
CREATE INDEX jobs_due_idx ON howdah._jobs USING btree (run_at) WHERE ((seq IS NULL) AND (run_at IS NOT NULL) AND (group_seq IS NULL))
CREATE INDEX jobs_expires_idx ON howdah._jobs USING btree (expires_at) WHERE (expires_at IS NOT NULL)
CREATE INDEX jobs_group_idx ON howdah._jobs USING btree (queue_id, group_key, group_seq) WHERE (group_seq IS NOT NULL)
CREATE INDEX jobs_origin_idx ON howdah._jobs USING btree (origin_queue_id, dead_at) WHERE (origin_queue_id IS NOT NULL)
CREATE UNIQUE INDEX jobs_pkey ON howdah._jobs USING btree (id)
CREATE UNIQUE INDEX lane_floors_pkey ON howdah._lane_floors USING btree (queue_id, lane)
CREATE UNIQUE INDEX leader_pkey ON howdah._leader USING btree (is_only)
CREATE UNIQUE INDEX lease_marks_pkey ON howdah._lease_marks USING btree (lease_id, queue_id, lane)
CREATE UNIQUE INDEX lease_notices_pkey ON howdah._lease_notices USING btree (lease_id, id)
CREATE INDEX leases_due_idx ON howdah._leases USING btree (due_at) WHERE (due_at IS NOT NULL)
CREATE UNIQUE INDEX leases_pkey ON howdah._leases USING btree (id)
CREATE INDEX leases_workers_idx ON howdah._leases USING btree (id) WHERE (due_at IS NULL)
CREATE UNIQUE INDEX left_settles_pkey ON howdah._left_settles USING btree (lease_id, job_id)
CREATE UNIQUE INDEX limit_deltas_pkey ON howdah._limit_deltas USING btree (queue_id, id)
CREATE UNIQUE INDEX limits_pkey ON howdah._limits USING btree (queue_id, epoch)
CREATE UNIQUE INDEX locks_pkey ON howdah._locks USING btree (id)
CREATE UNIQUE INDEX pills_pkey ON howdah._pills USING btree (job_id)
CREATE INDEX queues_ageing_idx ON howdah._queues USING btree (ageing_ms, id) WHERE ((ageing_ms IS NOT NULL) AND (deleted_at IS NULL))
CREATE INDEX queues_dead_letter_idx ON howdah._queues USING btree (dead_letter_queue_id)
CREATE INDEX queues_deleted_idx ON howdah._queues USING btree (deleted_at) WHERE (deleted_at IS NOT NULL)
CREATE UNIQUE INDEX queues_name_key ON howdah._queues USING btree (name) WHERE (deleted_at IS NULL)
CREATE INDEX queues_paused_idx ON howdah._queues USING btree (paused_until) WHERE (paused_until IS NOT NULL)
CREATE UNIQUE INDEX queues_pkey ON howdah._queues USING btree (id)
CREATE INDEX queues_retention_idx ON howdah._queues USING btree (retention_ms) WHERE (deleted_at IS NULL)
CREATE UNIQUE INDEX report_lines_pkey ON howdah._report_lines USING btree (job_id, n)
CREATE INDEX reports_looked_idx ON howdah._reports USING btree (looked_at)
CREATE UNIQUE INDEX reports_pkey ON howdah._reports USING btree (job_id)
CREATE INDEX schedule_runs_decided_idx ON howdah._schedule_runs USING btree (decided_at)
CREATE UNIQUE INDEX schedule_runs_pkey ON howdah._schedule_runs USING btree (schedule_id, nominal_at)
CREATE INDEX schedules_due_idx ON howdah._schedules USING btree (due_at) WHERE (due_at IS NOT NULL)
CREATE UNIQUE INDEX schedules_name_key ON howdah._schedules USING btree (name)
CREATE INDEX schedules_owner_idx ON howdah._schedules USING btree (owner) WHERE (owner IS NOT NULL)
CREATE UNIQUE INDEX schedules_pkey ON howdah._schedules USING btree (id)
CREATE UNIQUE INDEX seq_horizon_pkey ON howdah._seq_horizon USING btree (is_only)
CREATE INDEX sleepers_lease_idx ON howdah._sleepers USING btree (lease_id)
CREATE UNIQUE INDEX sleepers_pkey ON howdah._sleepers USING btree (queue_id, lease_id)
CREATE UNIQUE INDEX subscriptions_pkey ON howdah._subscriptions USING btree (topic, queue_id)
CREATE UNIQUE INDEX watchers_pkey ON howdah._watchers USING btree (lease_id)
CREATE INDEX watches_lease_idx ON howdah._watches USING btree (lease_id)
CREATE UNIQUE INDEX watches_pkey ON howdah._watches USING btree (job_id, lease_id)
options _batch_deltas (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_cost_delay=0)
options _batches (fillfactor=50, autovacuum_vacuum_threshold=100)
options _counter_deltas (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_cost_delay=0)
options _counters (fillfactor=20, autovacuum_vacuum_threshold=100)
options _dedupes (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
options _group_changes (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_cost_delay=0)
options _group_rates (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
options _groups (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=500, autovacuum_vacuum_cost_delay=0)
options _holds (autovacuum_vacuum_threshold=100)
options _jobs (fillfactor=45, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_insert_scale_factor=0.2, autovacuum_vacuum_cost_delay=0, autovacuum_analyze_scale_factor=0.5)
options _lane_floors (fillfactor=20, autovacuum_vacuum_threshold=100)
options _leader (fillfactor=20, autovacuum_vacuum_threshold=100)
options _lease_marks (fillfactor=20, autovacuum_vacuum_threshold=100)
options _lease_notices (autovacuum_vacuum_threshold=100)
options _leases (fillfactor=20, autovacuum_vacuum_threshold=100)
options _limit_deltas (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_cost_delay=0)
options _limits (fillfactor=20, autovacuum_vacuum_threshold=100)
options _report_lines (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
options _reports (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_threshold=500, autovacuum_vacuum_cost_delay=0)
options _schedule_runs (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
options _schedules (fillfactor=80, autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
options _seq_horizon (fillfactor=20, autovacuum_vacuum_threshold=100)
options _sleepers (autovacuum_vacuum_threshold=100)
options _watchers (autovacuum_vacuum_threshold=100)
options _watches (autovacuum_vacuum_scale_factor=0.05, autovacuum_vacuum_cost_delay=0)
function howdah._add_error(howdah._jobs,jsonb) returns jsonb
function howdah._add_lines(howdah._reports,jsonb,integer) returns void security definer
function howdah._admit(bigint[],boolean) returns void security definer
function howdah._age_queue(howdah._queues,integer) returns record security definer
function howdah._apply_edit(howdah._jobs,jsonb) returns text security definer
function howdah._apply_policy(integer,jsonb) returns void security definer
function howdah._attempts_of(howdah._jobs) returns integer
function howdah._backoff_ms(howdah._queues,integer) returns double precision
function howdah._batch_problem(jsonb) returns text security definer
function howdah._begin_counting(integer) returns void security definer
function howdah._begin_opening(integer) returns void security definer
function howdah._bucket_size(howdah._queues) returns double precision
function howdah._bury(howdah._jobs,text) returns void security definer
function howdah._bury_orphans() returns void security definer
function howdah._change_groups(howdah._groups[],boolean,boolean) returns void security definer
function howdah._charge(howdah._queues,howdah._room,tid[],bigint) returns howdah._room security definer
function howdah._check_owner(text) returns void security definer
function howdah._check_schedule(text,jsonb) returns void security definer
function howdah._check_topic(text) returns void security definer
function howdah._claim_limit(smallint,integer) returns integer
function howdah._clear_default(integer) returns integer security definer
function howdah._close_room(howdah._queues,howdah._room,boolean) returns jsonb security definer
function howdah._create_partition(date) returns void security definer
function howdah._create_partitions() returns record security definer
function howdah._day_start(date) returns text
function howdah._decide_numbers(bigint) returns bigint security definer
function howdah._delta_bytes(integer,bigint) returns bigint security definer
function howdah._describe_problem(text,jsonb,jsonb) returns record security definer
function howdah._drop_oldest(integer,bigint,bigint,integer,boolean) returns record security definer
function howdah._drop_partitions() returns record security definer
function howdah._drop_watches(bigint) returns void security definer
function howdah._enqueue_each(jsonb,timestamp with time zone,text,boolean,boolean) returns TABLE(ordinal integer, id bigint, created boolean, error_code text, error_message text, error_hint text, same boolean, details jsonb) security definer
function howdah._enqueue_plain(jsonb,text[],timestamp with time zone,boolean,integer) returns bigint[] security definer
function howdah._enqueue_runs(bigint[],timestamp with time zone[],jsonb,timestamp with time zone) returns howdah._schedule_runs[] security definer
function howdah._find_dead(jsonb,integer) returns SETOF howdah._jobs security definer
function howdah._find_unfinished(jsonb,integer) returns TABLE(id bigint, running boolean) security definer
function howdah._finish(howdah._jobs,text,text,jsonb,boolean) returns void security definer
function howdah._finish_batch(howdah._batches) returns boolean security definer
function howdah._fits_dead(howdah._jobs,jsonb,integer,integer) returns boolean
function howdah._fold_batch(bigint,integer) returns record security definer
function howdah._fold_deltas(integer) returns void security definer
function howdah._fold_groups(integer) returns record security definer
function howdah._fold_limit(howdah._queues,boolean) returns howdah._limits security definer
function howdah._follows_plainly(jsonb) returns boolean security definer
function howdah._forget_queues(integer) returns integer security definer
function howdah._full_details(integer,bigint,bigint,bigint,integer,bigint) returns jsonb security definer
function howdah._give_back(howdah._leases,boolean,integer) returns record security definer
function howdah._has_options(jsonb) returns boolean
function howdah._has_room(integer,bigint,integer,bigint) returns boolean security definer
function howdah._has_wide_options(jsonb) returns boolean
function howdah._history_kept() returns interval security definer
function howdah._history_of(bigint[]) returns SETOF howdah._history security definer
function howdah._hold_of(howdah._queues) returns record security definer
function howdah._hold_queue(integer,double precision,text) returns void security definer
function howdah._is_alone(smallint) returns boolean
function howdah._is_bad_dedupe(jsonb) returns boolean
function howdah._is_bad_plan(jsonb) returns boolean security definer
function howdah._is_behind(howdah._jobs) returns boolean security definer
function howdah._is_out_of_range(jsonb,numeric,numeric) returns boolean
function howdah._is_pending(bigint) returns boolean security definer
function howdah._is_too_deep(jsonb) returns boolean
function howdah._is_too_long(jsonb,integer,boolean) returns boolean
function howdah._is_wanted(bigint) returns boolean security definer
function howdah._is_weight_wrong(jsonb,integer) returns boolean
function howdah._is_wide(jsonb,boolean) returns boolean
function howdah._job_problem(jsonb,integer,integer,boolean) returns text
function howdah._kept_result(jsonb,boolean) returns jsonb
function howdah._key_until(jsonb,bigint,timestamp with time zone) returns timestamp with time zone security definer
function howdah._lane_floor(integer,smallint) returns bigint security definer
function howdah._lane_starts(integer,smallint[],bigint[],bigint) returns record
function howdah._left_group(howdah._jobs) returns howdah._groups
function howdah._let_go(bigint,integer) returns void security definer
function howdah._lock_jobs(bigint[]) returns void security definer
function howdah._lock_keys(jsonb,bigint[],text[],timestamp with time zone) returns record security definer
function howdah._lock_lease(bigint) returns void
function howdah._lock_queues(text) returns integer[] security definer
function howdah._look_behind(integer,smallint,bigint,bigint,bigint) returns record security definer
function howdah._lost_outcome(jsonb) returns text security definer
function howdah._mark_lease(bigint,integer,smallint,bigint,bigint,bigint) returns void security definer
function howdah._move_circuit(howdah._queues,howdah._limits,timestamp with time zone[],boolean) returns howdah._limits security definer
function howdah._ms_to_time(jsonb) returns timestamp with time zone
function howdah._ms_until(timestamp with time zone) returns bigint
function howdah._names_of(integer[]) returns text[] security definer
function howdah._new_head(howdah._jobs) returns howdah._groups
function howdah._next_lane(integer,smallint[],bigint[],smallint) returns record
function howdah._note_added(bigint[]) returns void security definer
function howdah._note_completed(bigint[]) returns void security definer
function howdah._note_completions(jsonb) returns void security definer
function howdah._note_days() returns integer security definer
function howdah._note_ended(bigint,bigint,bigint,boolean) returns void security definer
function howdah._note_outcome(howdah._queues,text) returns void security definer
function howdah._notify_lease(bigint,text) returns void
function howdah._number_flaw(jsonb,integer) returns text security definer
function howdah._number_problem(jsonb,integer) returns text
function howdah._oldest_ready(integer,bigint,bigint,integer,bigint[]) returns bigint[] security definer
function howdah._open_groups(integer,integer) returns integer security definer
function howdah._order_drain(bigint[],text) returns void security definer
function howdah._pace_members(integer,text,bigint[]) returns void security definer
function howdah._parse_time(text) returns timestamp with time zone security definer
function howdah._pass_gate(jsonb,bigint[],text[],timestamp with time zone,text,boolean) returns record security definer
function howdah._pick_within(howdah._queues,howdah._room,smallint,bigint,integer,boolean) returns howdah._picked security definer
function howdah._plain_lane(smallint) returns smallint
function howdah._prune_group_rates(integer) returns integer security definer
function howdah._put_back(howdah._jobs,timestamp with time zone,boolean,boolean) returns void security definer
function howdah._queue_id_of(text) returns integer security definer
function howdah._queue_size(integer) returns bigint security definer
function howdah._queues_in_use() returns SETOF integer security definer
function howdah._raise_floor(integer,smallint,bigint) returns bigint security definer
function howdah._redrive_one(howdah._jobs,integer,timestamp with time zone) returns howdah._groups security definer
function howdah._refill_ms(howdah._queues,double precision) returns bigint
function howdah._refuse_claim(text,integer) returns void
function howdah._rejoin_batch(bigint) returns bigint security definer
function howdah._retry_after_ms(integer,double precision) returns integer security definer
function howdah._return_follower(howdah._jobs) returns howdah._groups security definer
function howdah._return_permits(integer,integer) returns void security definer
function howdah._ring_promoter(timestamp with time zone) returns void security definer
function howdah._ring_queue(integer,integer,bigint) returns void security definer
function howdah._ring_scheduler() returns void security definer
function howdah._room_of(howdah._queues,integer) returns howdah._room security definer
function howdah._run_at_of(jsonb,bigint,timestamp with time zone) returns timestamp with time zone
function howdah._schedule_id_of(text) returns bigint security definer
function howdah._schedule_job(text,jsonb,timestamp with time zone) returns jsonb
function howdah._seize_group(integer,text,timestamp with time zone) returns record security definer
function howdah._settle_one(howdah._jobs,jsonb) returns record security definer
function howdah._settle_single(bigint,jsonb) returns text security definer
function howdah._smoothed_rate(double precision,double precision,timestamp with time zone,timestamp with time zone) returns double precision
function howdah._supersede(howdah._jobs,jsonb,timestamp with time zone,timestamp with time zone,boolean) returns void security definer
function howdah._suspect_lane(smallint,integer,boolean) returns smallint
function howdah._take_followers(howdah._queues,bigint,tid[],integer,timestamp with time zone) returns record security definer
function howdah._tell_watchers(bigint[],boolean) returns void security definer
function howdah._text_bytes(jsonb) returns integer security definer
function howdah._try_group(howdah._jobs) returns boolean security definer
function howdah._waiting_in(integer) returns record security definer
function howdah._with_counts(jsonb,howdah._batches) returns jsonb security definer
function howdah._with_header(jsonb,text,jsonb) returns jsonb
function howdah.alter_queue(text,jsonb) returns integer security definer
function howdah.cancel(bigint[],text,boolean) returns TABLE(id bigint, outcome text, why text) security definer
function howdah.cancel_jobs(jsonb,text,integer,boolean) returns record security definer
function howdah.cancel_requests(bigint,bigint[]) returns SETOF bigint security definer
function howdah.check_groups() returns TABLE(queue text, group_key text, admitted integer, admitted_rows bigint, waiting integer, waiting_rows bigint, problem text) security definer
function howdah.claim(text,bigint,integer,smallint[],bigint[]) returns TABLE(id bigint, lane smallint, seq bigint, attempt integer, uncounted integer, payload jsonb, headers jsonb, enqueued_at timestamp with time zone, max_attempts smallint, expired boolean, errors jsonb) security definer
function howdah.claim_many(text,bigint,integer,smallint[],bigint[],integer,text) returns TABLE(lane smallint, ids text, enqueued text, payloads text, rest jsonb, max_attempts smallint) security definer
function howdah.clock() returns timestamp with time zone
function howdah.close_batch(bigint,boolean) returns text security definer
function howdah.close_lease(bigint) returns integer security definer
function howdah.close_queue(text,text) returns text[] security definer
function howdah.complete(bigint,bigint,integer,jsonb) returns text security definer
function howdah.complete_led(bigint,bigint,integer,jsonb) returns boolean security definer
function howdah.complete_many(bigint,bigint[],integer[],jsonb,boolean) returns SETOF bigint security definer
function howdah.create_queue(text,jsonb) returns integer security definer
function howdah.create_queues(jsonb) returns TABLE(queue text, is_there boolean) security definer
function howdah.dead_letter_groups(text,text,integer) returns TABLE(fingerprint text, jobs bigint, name text, message text, queues text[], first_dead_at timestamp with time zone, last_dead_at timestamp with time zone, id bigint) security definer
function howdah.delete_queue(text,boolean) returns void security definer
function howdah.delete_schedule(text) returns void security definer
function howdah.discard(jsonb,integer,boolean) returns TABLE(id bigint, queue text, reason text, error text) security definer
function howdah.drain_order(bigint) returns text security definer
function howdah.drain_worker(text) returns TABLE(lease_id bigint, worker text) security definer
function howdah.due_schedules(integer) returns record security definer
function howdah.edit_job(bigint,jsonb) returns text security definer
function howdah.enqueue(jsonb,text,boolean) returns TABLE(ordinal integer, id bigint, created boolean, error_code text, error_message text, error_hint text, same boolean, details jsonb) security definer
function howdah.enqueue_many(text,text) returns text security definer
function howdah.error_fingerprint(jsonb) returns text
function howdah.expire(integer) returns integer security definer
function howdah.extend(bigint,integer) returns timestamp with time zone security definer
function howdah.extend_job(bigint,bigint,integer,integer) returns TABLE(lease_id bigint, visible_at timestamp with time zone) security definer
function howdah.fail(bigint,bigint,integer,jsonb,bigint) returns text security definer
function howdah.find_jobs(bigint[]) returns SETOF howdah.jobs security definer
function howdah.find_orphans(bigint,integer) returns TABLE(looked integer, orphans integer, mark bigint) security definer
function howdah.finished_ids(text,text[],bigint,bigint,integer,integer) returns record security definer
function howdah.fire_schedules(jsonb) returns TABLE(planned integer, enqueued integer, refused integer, skipped integer) security definer
function howdah.fold_batches(integer) returns TABLE(folded integer, finished integer, has_more boolean) security definer
function howdah.has_exponent(text) returns boolean
function howdah.heartbeat(bigint) returns TABLE(alive boolean, attention boolean) security definer
function howdah.held_jobs(bigint[]) returns SETOF bigint security definer
function howdah.lagging_sequences() returns TABLE(name text, last bigint, used bigint) security definer
function howdah.lane_priority(smallint) returns integer
function howdah.lead(bigint,integer) returns TABLE(term bigint, had_gap boolean) security definer
function howdah.leave_settles(bigint,jsonb) returns integer security definer
function howdah.limit_queue(text,bigint,text) returns void security definer
function howdah.mend() returns text[] security definer
function howdah.missing_rows() returns SETOF text security definer
function howdah.obey_stop(bigint,bigint,integer) returns text security definer
function howdah.open_batch(jsonb) returns bigint security definer
function howdah.open_lease(text,integer,jsonb,boolean) returns bigint security definer
function howdah.open_queue(text) returns text[] security definer
function howdah.pause_queue(text,text,timestamp with time zone) returns text[] security definer
function howdah.pause_schedule(text,text) returns void security definer
function howdah.promote(integer,timestamp with time zone) returns TABLE(promoted integer, next_ms bigint, mark timestamp with time zone) security definer
function howdah.prune() returns TABLE(created integer, dropped integer, cleared integer, problems text[]) security definer
function howdah.prune_dedupes(integer) returns integer security definer
function howdah.prune_reports(integer) returns integer security definer
function howdah.prune_schedule_runs(integer) returns integer security definer
function howdah.publish(jsonb,boolean) returns TABLE(queue text, id bigint, created boolean) security definer
function howdah.put_schedule(text,jsonb,text) returns text security definer
function howdah.ready_lanes(integer,smallint[],bigint[]) returns TABLE(lane smallint, start bigint) security definer
function howdah.ready_queues(bigint,text[],integer[],smallint[],bigint[]) returns TABLE(place integer, state text, again_ms bigint) security definer
function howdah.reap(integer) returns TABLE(leases integer, requeued integer, dead integer) security definer
function howdah.receive(text,integer,integer,smallint[],bigint[],text) returns TABLE(lease_id bigint, id bigint, attempt integer, uncounted integer, payload jsonb, headers jsonb, enqueued_at timestamp with time zone, max_attempts smallint, errors jsonb, lane smallint, seq bigint, visible_at timestamp with time zone, group_key text) security definer
function howdah.redrive(jsonb,integer,boolean,text,double precision) returns TABLE(id bigint, from_queue text, to_queue text, reason text, error text) security definer
function howdah.release(bigint,bigint,integer) returns text security definer
function howdah.report(bigint,jsonb) returns SETOF bigint security definer
function howdah.resign(bigint) returns void security definer
function howdah.resume_queue(text) returns text[] security definer
function howdah.resume_schedule(text) returns void security definer
function howdah.return_strays(bigint,bigint[]) returns integer security definer
function howdah.ring(text,integer,bigint) returns void security definer
function howdah.roll_up(integer,bigint) returns TABLE(rolled integer, mark bigint) security definer
function howdah.run_now(bigint[]) returns TABLE(id bigint, outcome text) security definer
function howdah.run_schedule(text) returns bigint security definer
function howdah.schema_version() returns integer security definer
function howdah.set_aside(bigint,bigint[],bigint[]) returns boolean security definer
function howdah.set_circuit(text,text,text,timestamp with time zone) returns void security definer
function howdah.settle(bigint,jsonb) returns TABLE(id bigint, outcome text, run_at timestamp with time zone) security definer
function howdah.settle_or_raise(bigint,jsonb) returns text security definer
function howdah.settle_received(jsonb) returns TABLE(ordinal integer, id bigint, outcome text, run_at timestamp with time zone) security definer
function howdah.sleep(bigint,text[]) returns void security definer
function howdah.snooze(bigint,bigint,integer,bigint) returns text security definer
function howdah.stop_consumers(text,text) returns bigint security definer
function howdah.stop_ringing(bigint,text[]) returns void security definer
function howdah.subscribe(text,text) returns boolean security definer
function howdah.sweep(integer) returns integer security definer
function howdah.sync_schedules(text,jsonb) returns TABLE(name text, change text) security definer
function howdah.tend_queues(integer) returns TABLE(freed integer, aged integer, opened integer) security definer
function howdah.unsubscribe(text,text) returns boolean security definer
function howdah.upkeep_due(text[],bigint) returns TABLE(duty text, in_ms bigint) security definer
function howdah.wake(bigint) returns void security definer
function howdah.watch(bigint,bigint[],bigint[],bigint[],bigint[]) returns TABLE(id bigint, queue text, state text, kept boolean, attempt integer, reason text, errors jsonb, result jsonb, progress jsonb, progress_at timestamp with time zone) security definer
