export type { Duration } from './core/duration.js';
export {
  ERROR_CODES,
  type ErrorCodeEntry,
  HowdahError,
  type HowdahErrorCode,
  type HowdahErrorOptions,
} from './core/errors.js';
