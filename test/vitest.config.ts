import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { findSystemPostgres } from './support/system-postgres.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const hasSystemPostgres = findSystemPostgres() !== undefined && !process.env.HOWDAH_TEST_PG;

export default defineConfig({
  root,
  resolve: {
    // What users import: the built package, so that `npm run build` comes before the tests.
    alias: [
      { find: /^howdah$/, replacement: `${root}dist/index.js` },
      { find: /^howdah\/([a-z]+)$/, replacement: `${root}dist/$1/index.js` },
    ],
  },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    server: { deps: { external: [/\/dist\//] } },
    reporters: ['default', './test/support/summary-reporter.ts'],
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/tidy.test.ts'] },
      },
      {
        extends: true,
        test: {
          name: 'postgres',
          include: ['test/**/*.test.ts'],
          exclude: ['test/unit/**', 'test/tidy.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
      // The SQL functions once more, on the PostgreSQL that the machine has.
      ...(hasSystemPostgres
        ? [
            {
              extends: true as const,
              test: {
                name: 'system-postgres',
                include: ['test/sql/**/*.test.ts', 'test/features/migrations.test.ts'],
                // hundreds of megabytes of text, a minute long, of which the newest version is enough
                exclude: ['test/sql/claim-size.test.ts'],
                globalSetup: ['test/support/global-setup-system.ts'],
              },
            },
          ]
        : []),
    ],
  },
});
