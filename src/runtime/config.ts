import { HowdahError } from '../core/errors.js';
import type { WorkerOptions } from '../worker/options.js';

/** What a file for `howdah work --config` exports: the options of its worker. */
export interface Config extends Omit<WorkerOptions, 'pool'> {
  /** The same as `url`. */
  readonly connection?: string;
}

/**
 * Checks nothing but types: `export default defineConfig({ queues: [work(...)] })`.
 * @throws HowdahError HOWDAH_OPTION_INVALID when it is not an object with queues
 */
export function defineConfig(config: Config): Config {
  if (typeof config !== 'object' || config === null || !Array.isArray(config.queues)) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', 'defineConfig takes an object with queues.', {
      remedy: 'For instance defineConfig({ queues: [work(queue, handler)] }).',
    });
  }
  return config;
}

/** The options of the worker that a config stands for. A connection given otherwise goes first. */
export function workerOptionsOf(
  config: Config,
  overrides: Partial<WorkerOptions> = {},
): WorkerOptions {
  const { connection, ...options } = config;
  return { ...(connection === undefined ? {} : { url: connection }), ...options, ...overrides };
}
