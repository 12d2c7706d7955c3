import type { CodecOption } from '../core/codec/codec.js';
import type { AnyQueue } from '../core/queue/queue.js';
import type { Duration } from '../core/time/duration.js';
import type { DatabaseOptions } from '../db/options.js';
import type { Logger } from '../telemetry/logger.js';
import type { EnqueueMiddleware } from './enqueue/enqueue-middleware.js';
import type { GatherOptions, OnFull } from './enqueue/enqueue-options.js';

/** What a client is made with. */
export interface ClientOptions extends DatabaseOptions {
  readonly gather?: GatherOptions;
  /** For calls that do not say it themselves. In a caller's transaction `wait` means `throw`. */
  readonly onFull?: OnFull;
  /** As in {@link EnqueueOptions}. */
  readonly waitMax?: Duration;
  /** Queues to declare at the first use of the client. Others are declared at their own first use. */
  readonly queues?: readonly AnyQueue[];
  /** Around `enqueue` and `enqueueMany`, the first one outermost. */
  readonly middleware?: readonly EnqueueMiddleware[];
  /** How payloads, headers, results and errors are stored. Default: as they are. */
  readonly codec?: CodecOption;
  /** Told of listeners that throw. Default: JSON lines to standard error, from `warn` upwards. */
  readonly logger?: Logger;
}
