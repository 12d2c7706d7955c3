import type { Database } from '../database.js';
import type { QueuePoliciesView, WorkersView } from '../tables.js';
import { withPlainTimes } from '../times.js';

/** The installation at a glance. */
interface ServerOverview {
  readonly server: string;
  readonly database: string;
  readonly role: string;
  readonly schemaVersion: number;
}

/** Reads for `status` and lists of queues. They are rare, so their statements are not prepared. */
interface OverviewCalls {
  /** @throws HowdahError HOWDAH_SCHEMA_MISSING */
  server(): Promise<ServerOverview>;
  /** Every lease there is, living or not, the oldest first. */
  workers(): Promise<WorkersView[]>;
  /** By name. */
  policies(): Promise<QueuePoliciesView[]>;
}

export function overviewCalls(database: Database): OverviewCalls {
  const server = database.sql(
    `select current_setting('server_version') as server, current_database()::text as database,
      current_user::text as role, {{schema}}.schema_version() as "schemaVersion"`,
  );
  const workers = database.sql(
    withPlainTimes('select * from {{schema}}.workers order by opened_at, lease_id'),
  );
  const policies = database.sql(
    withPlainTimes('select * from {{schema}}.queue_policies order by queue'),
  );
  return {
    server: async () => {
      const [row] = await database.query<ServerOverview>({ text: server });
      return row as ServerOverview;
    },
    workers: () => database.query<WorkersView>({ text: workers }),
    policies: () => database.query<QueuePoliciesView>({ text: policies }),
  };
}
