import postgres from 'postgres';
import { callbackTransaction, type OpenKit } from './kit.js';

export const openPostgresJs: OpenKit = async (url) => {
  const sql = postgres(url, { onnotice: () => {} });
  return {
    root: sql,
    async begin() {
      const { tx, ...ends } = await callbackTransaction<postgres.TransactionSql>((run) =>
        sql.begin(run),
      );
      return { tx, ...ends, run: (text) => tx.unsafe(text) };
    },
    close: () => sql.end(),
  };
};
