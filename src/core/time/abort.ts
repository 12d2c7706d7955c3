import { setMaxListeners } from 'node:events';

/**
 * Calls `onAbort` when the signal aborts, unless the returned function is called before. Any number
 * may wait on one signal: batches that are settled again, callers who share the caller's own signal.
 * Node takes more than ten for a leak and would write a warning.
 */
export function whenAborted(signal: AbortSignal | undefined, onAbort: () => void): () => void {
  if (!signal) return () => undefined;
  setMaxListeners(0, signal);
  signal.addEventListener('abort', onAbort);
  return () => signal.removeEventListener('abort', onAbort);
}
