import { DataSource, type EntityManager } from 'typeorm';
import { callbackTransaction, type OpenKit } from './kit.js';

async function connect(url: string): Promise<DataSource> {
  return new DataSource({ type: 'postgres', url }).initialize();
}

export const openTypeOrmManager: OpenKit = async (url) => {
  const source = await connect(url);
  return {
    root: source.manager,
    async begin() {
      const { tx, ...ends } = await callbackTransaction<EntityManager>((run) =>
        source.transaction(run),
      );
      return { tx, ...ends, run: (sql) => tx.query(sql) };
    },
    close: () => source.destroy(),
  };
};

export const openTypeOrmRunner: OpenKit = async (url) => {
  const source = await connect(url);
  return {
    root: source,
    async begin() {
      const tx = source.createQueryRunner();
      await tx.startTransaction();
      return {
        tx,
        run: (sql) => tx.query(sql),
        commit: () => tx.commitTransaction().finally(() => tx.release()),
        rollback: () => tx.rollbackTransaction().finally(() => tx.release()),
      };
    },
    close: () => source.destroy(),
  };
};
