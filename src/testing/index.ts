export {
  createTestDatabase,
  dropTestDatabases,
  type TestDatabase,
  type TestDatabaseOptions,
} from '../db/testing/test-databases.js';
export { type DrainOptions, drain } from './drain.js';
export {
  assertEnqueued,
  type Expectation,
  type Inspected,
  refuteEnqueued,
} from './expectations.js';
export { type Performed, type PerformOptions, performJob } from './perform-job.js';
export { permitTimeTravel, type TestTime, type TimeOptions, testTime } from './time.js';
