import { CamelCasePlugin, CompiledQuery, Kysely, PostgresDialect, type Transaction } from 'kysely';
import pg from 'pg';
import { callbackTransaction, type OpenKit } from './kit.js';

function connect(url: string): Kysely<object> {
  return new Kysely<object>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }),
    // a plugin that renames the columns of every result
    plugins: [new CamelCasePlugin()],
  });
}

export const openKysely: OpenKit = async (url) => {
  const db = connect(url);
  return {
    root: db,
    async begin() {
      const { tx, ...ends } = await callbackTransaction<Transaction<object>>((run) =>
        db.transaction().execute(run),
      );
      return { tx, ...ends, run: (sql) => tx.executeQuery(CompiledQuery.raw(sql)) };
    },
    close: () => db.destroy(),
  };
};

export const openControlledKysely: OpenKit = async (url) => {
  const db = connect(url);
  return {
    root: db,
    async begin() {
      const tx = await db.startTransaction().execute();
      return {
        tx,
        run: (sql) => tx.executeQuery(CompiledQuery.raw(sql)),
        commit: () => tx.commit().execute(),
        rollback: () => tx.rollback().execute(),
      };
    },
    close: () => db.destroy(),
  };
};
