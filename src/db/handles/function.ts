import type { HandleKind, TxFunction } from './tx-handle.js';

/** A function of the caller; whether it is in a transaction is for the caller to know. */
export const functionRunner: HandleKind = (handle) =>
  typeof handle === 'function'
    ? async (sql, text) => (handle as TxFunction)(sql, [text])
    : undefined;
