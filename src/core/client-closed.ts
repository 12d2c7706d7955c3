import { HowdahError } from './errors.js';

/** The error of a call to a client that has been closed, or closes. */
export function clientClosed(): HowdahError {
  return new HowdahError('HOWDAH_CLIENT_CLOSED', 'The client has been closed.', {
    remedy: 'Make another.',
  });
}
