import knex from 'knex';
import type { OpenKit } from './kit.js';

export const openKnex: OpenKit = async (url) => {
  const db = knex({ client: 'pg', connection: url });
  return {
    root: db,
    async begin() {
      const tx = await db.transaction();
      return {
        tx,
        run: (sql) => tx.raw(sql),
        commit: async () => void (await tx.commit()),
        rollback: async () => void (await tx.rollback()),
      };
    },
    close: () => db.destroy(),
  };
};
