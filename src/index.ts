export { Batch } from './client/batch.js';
export type {
  BatchFilter,
  BatchInfo,
  CloseBatchOptions,
  OnComplete,
  OpenBatchOptions,
} from './client/batches.js';
export type { CancelFilter, CancelOptions } from './client/cancel-filter.js';
export { Client, createClient } from './client/client.js';
export type { ClientOptions } from './client/client-options.js';
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterGroupOptions,
  DeadLetterListOptions,
  DiscardOptions,
  RedriveOptions,
} from './client/dead-letters.js';
export type {
  DedupeManyOptions,
  EnqueuedBatch,
  EnqueueManyArrayResult,
  EnqueueManyOptions,
  EnqueueManyResult,
  Rejection,
} from './client/enqueue-many.js';
export type { EnqueueCall, EnqueueMiddleware, EnqueueVia } from './client/enqueue-middleware.js';
export type { BlockedGroup } from './client/groups.js';
export { JobHandle } from './client/job-handle.js';
export type { JobDetails, JobFilter, JobLogLine, JobSummary } from './client/jobs.js';
export type { EnqueueOptions, GatherOptions, OnFull } from './client/options.js';
export type { DrainProgress, DrainQueueOptions, PauseOptions } from './client/queue-control.js';
export type { QueueStats } from './client/queues.js';
export type { ReceiveOptions } from './client/receive-options.js';
export type { FailOptions, Receipt, ReceivedJob } from './client/received-job.js';
export type { ResultOptions } from './client/results.js';
export type {
  PreviewedRun,
  PreviewTarget,
  ScheduleFilter,
  ScheduleInfo,
  ScheduleOutcome,
  ScheduleRun,
  Schedules,
} from './client/schedules.js';
export type { PublishOptions, Subscription, SubscriptionFilter } from './client/topics.js';
export type { JobReport, ProgressListener } from './client/watch-job.js';
export type { StopMode, WorkerInfo } from './client/workers.js';
export type { ClientEvents, EnqueuedRef } from './core/client-events.js';
export type { Codec, CodecContext, CodecField, CodecOption } from './core/codec.js';
export type { DedupeMode, DedupeOptions } from './core/dedupe.js';
export type { Duration } from './core/duration.js';
export type { JobOptions } from './core/enqueue-options.js';
export type { ErrorSnapshot } from './core/error-snapshot.js';
export {
  ERROR_CODES,
  type ErrorCodeEntry,
  HowdahError,
  type HowdahErrorCode,
  type HowdahErrorOptions,
} from './core/errors.js';
export type {
  EventListener,
  EventOf,
  JobRef,
  WorkerEvent,
  WorkerEventListener,
  WorkerEvents,
  WorkerEventType,
} from './core/events.js';
export type { Job, JobError, JobState } from './core/job.js';
export type { JobEdit } from './core/job-edit.js';
export type { Json, Jsonified } from './core/json.js';
export type { MissedPolicy } from './core/nominal-times.js';
export {
  cancelJob,
  deadLetter,
  type Outcome,
  PermanentError,
  rateLimited,
  release,
  retry,
  snooze,
} from './core/outcome.js';
export { type AnyQueue, type Queue, type QueueOptions, queue, toPolicy } from './core/queue.js';
export type { BackoffPolicy, BreakerPolicy, QueuePolicy, RatePolicy } from './core/queue-policy.js';
export { type AnySchedule, type Schedule, schedule } from './core/schedule.js';
export type {
  SchemaInput,
  SchemaOutput,
  StandardSchema,
  StandardSchemaIssue,
  StandardSchemaResult,
} from './core/standard-schema.js';
export type { BatchState } from './db/calls/batches.js';
export type {
  CancelCounts,
  CancelledRow,
  CancelOutcome,
  ControlRow,
  RunNowOutcome,
} from './db/calls/control.js';
export type { DeadLetterGroup, DiscardedRow, RedrivenRow } from './db/calls/dead-letters.js';
export type { Enqueued } from './db/calls/enqueue.js';
export type { ScheduleChange } from './db/calls/schedules.js';
export type { DrainedWorker } from './db/calls/stop.js';
export type { Published } from './db/calls/topics.js';
export { Database } from './db/database.js';
export type { Executor, Session, Statement } from './db/executor.js';
export type {
  DrizzleHandle,
  KnexHandle,
  KyselyHandle,
  PgClientHandle,
  PostgresJsHandle,
  TxFunction,
  TxHandle,
  TypeOrmHandle,
} from './db/handles/tx-handle.js';
export type { JobTransaction, JobTransactionResult } from './db/lent-transaction.js';
export {
  type MigrateOptions,
  type MigrateResult,
  type MigrationStatus,
  migrate,
  migrationStatus,
  printMigrations,
} from './db/migrate.js';
export type { DatabaseOptions } from './db/options.js';
export type { PoolClientLike, PoolLike } from './db/pool-like.js';
export { type Config, defineConfig, workerOptionsOf } from './runtime/config.js';
export { createWorker } from './runtime/create-worker.js';
export {
  type JsonLoggerOptions,
  jsonLogger,
  type LogFields,
  type Logger,
  type LogLevel,
  silentLogger,
} from './telemetry/logger.js';
export type { AttemptMiddleware, NextAttempt } from './worker/attempt-middleware.js';
export {
  type BatchEntry,
  type BatchHandler,
  type BatchOptions,
  type BatchReturn,
  type Binding,
  type Handler,
  type HandlerReturn,
  type TransactionalHandler,
  type WorkOptions,
  work,
} from './worker/binding.js';
export type { HandlerFile, HandlerFileOptions } from './worker/isolation/handler-file.js';
export type { JobContext, TransactionalContext } from './worker/job-context.js';
export type { WorkerOptions } from './worker/options.js';
export type { StopOptions, StopReport } from './worker/stop-report.js';
export type { Counts } from './worker/tally.js';
export type { RunOnceOptions, RunOnceReport, Worker } from './worker/worker.js';
