export { JobHandle } from './client/await/job-handle.js';
export type { ResultOptions } from './client/await/results.js';
export type { JobReport, ProgressListener } from './client/await/watch-job.js';
export { Client, createClient } from './client/client.js';
export type { ClientOptions } from './client/client-options.js';
export type {
  DedupeManyOptions,
  EnqueuedBatch,
  EnqueueManyArrayResult,
  EnqueueManyOptions,
  EnqueueManyResult,
  Rejection,
} from './client/enqueue/enqueue-many.js';
export type {
  EnqueueCall,
  EnqueueMiddleware,
  EnqueueVia,
} from './client/enqueue/enqueue-middleware.js';
export type { EnqueueOptions, GatherOptions, OnFull } from './client/enqueue/enqueue-options.js';
export type { PublishOptions } from './client/enqueue/publisher.js';
export { Batch, type BatchInfo, type CloseBatchOptions } from './client/operate/batch.js';
export type {
  Batches,
  BatchFilter,
  OnComplete,
  OpenBatchOptions,
} from './client/operate/batches.js';
export type { CancelFilter, CancelOptions } from './client/operate/cancel-filter.js';
export type {
  DeadLetter,
  DeadLetterFilter,
  DeadLetterGroupOptions,
  DeadLetterListOptions,
  DeadLetters,
  DiscardOptions,
  RedriveOptions,
} from './client/operate/dead-letters.js';
export type { BlockedGroup, BlockedGroupOptions, Groups } from './client/operate/groups.js';
export type { JobDetails, JobFilter, JobLogLine, JobSummary, Jobs } from './client/operate/jobs.js';
export type {
  DrainProgress,
  DrainQueueOptions,
  PauseOptions,
} from './client/operate/queue-control.js';
export type { DeleteQueueOptions, QueueStats, Queues } from './client/operate/queues.js';
export type {
  PreviewedRun,
  PreviewTarget,
  ScheduleFilter,
  ScheduleInfo,
  ScheduleOutcome,
  ScheduleRun,
  Schedules,
} from './client/operate/schedules.js';
export type { Subscription, SubscriptionFilter, Topics } from './client/operate/topics.js';
export type {
  StopConsumersOptions,
  StopMode,
  WorkerInfo,
  Workers,
} from './client/operate/workers.js';
export type { ReceiveOptions } from './client/pull/receive-options.js';
export type { FailOptions, Receipt, ReceivedJob } from './client/pull/received-job.js';
export type { ClientEvents, EnqueuedRef } from './core/client-events.js';
export type { Codec, CodecContext, CodecField, CodecOption } from './core/codec/codec.js';
export type { ErrorSnapshot } from './core/codec/error-snapshot.js';
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
export type { DedupeMode, DedupeOptions } from './core/job/dedupe.js';
export type { JobOptions } from './core/job/enqueue-options.js';
export type { Job, JobError, JobState } from './core/job/job.js';
export type { JobEdit } from './core/job/job-edit.js';
export {
  cancelJob,
  deadLetter,
  type Outcome,
  PermanentError,
  rateLimited,
  release,
  retry,
  snooze,
} from './core/job/outcome.js';
export type {
  SchemaInput,
  SchemaOutput,
  StandardSchema,
  StandardSchemaIssue,
  StandardSchemaResult,
} from './core/job/standard-schema.js';
export type { Json, Jsonified } from './core/json.js';
export {
  type AnyQueue,
  type Queue,
  type QueueOptions,
  queue,
  toPolicy,
} from './core/queue/queue.js';
export type {
  BackoffPolicy,
  BreakerPolicy,
  QueuePolicy,
  RatePolicy,
} from './core/queue/queue-policy.js';
export type { MissedPolicy } from './core/schedule/nominal-times.js';
export { type AnySchedule, type Schedule, schedule } from './core/schedule/schedule.js';
export type { Duration } from './core/time/duration.js';
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
export type { PoolClientLike, PoolLike } from './db/connect/pool-like.js';
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
export { viewsOf } from './db/kysely.js';
export {
  type MigrateOptions,
  type MigrateResult,
  type MigrationStatus,
  migrate,
  migrationStatus,
  printMigrations,
} from './db/migrate/migrate.js';
export type { DatabaseOptions } from './db/options.js';
export type { JobTransaction, JobTransactionResult } from './db/tx/lent-transaction.js';
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
export type { AttemptMiddleware, NextAttempt } from './worker/handler/attempt-middleware.js';
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
} from './worker/handler/binding.js';
export type { HandlerFile, HandlerFileOptions } from './worker/handler/handler-file.js';
export type { JobContext, TransactionalContext } from './worker/handler/job-context.js';
export type { WorkerOptions } from './worker/options.js';
export type { Counts } from './worker/settle/tally.js';
export type { StopOptions, StopReport } from './worker/stop/stop-report.js';
export type { RunOnceOptions, RunOnceReport, Worker } from './worker/worker.js';
