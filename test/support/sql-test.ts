import { test as base } from './database.js';
import { Engine } from './engine.js';

/** `test` with the SQL functions of this file's database as `db`. */
export const test = base.extend<{ db: Engine }>({
  db: async ({ pool }, use) => use(new Engine(pool)),
});
