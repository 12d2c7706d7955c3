import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describeValue } from '../core/describe-value.js';
import { HowdahError } from '../core/errors.js';
import type { Config } from '../runtime/config.js';

/** Looked for in the working directory, in this order. */
const CONFIG_FILES = ['ts', 'mts', 'js', 'mjs'].map((ending) => `howdah.config.${ending}`);

/** A configuration and where it came from. */
export interface LoadedConfig {
  readonly config: Config;
  readonly file: string;
}

/** The file that is named, or one of {@link CONFIG_FILES} in the working directory. */
export function findConfig(named: string | undefined): string | undefined {
  if (named !== undefined) return path.resolve(named);
  return CONFIG_FILES.map((each) => path.resolve(each)).find((each) => existsSync(each));
}

/**
 * Loads a configuration file, TypeScript or JavaScript.
 * @throws HowdahError HOWDAH_HANDLER_INVALID naming the file
 */
export async function loadConfig(file: string): Promise<LoadedConfig> {
  if (!existsSync(file)) throw invalid(file, 'does not exist.', 'Name it with --config FILE.');
  const { createJiti } = await import('jiti');
  // The library is this very one, so that its objects are recognised, wherever the file lies.
  const howdah = fileURLToPath(new URL('../index.js', import.meta.url));
  const embedded = fileURLToPath(new URL('../embedded/index.js', import.meta.url));
  const jiti = createJiti(import.meta.url, {
    interopDefault: false,
    // It would lie in a folder that others may write to: whoever fills it first runs code as this process.
    fsCache: false,
    alias: { howdah, 'howdah/embedded': embedded },
    nativeModules: [howdah, embedded],
  });
  let exported: unknown;
  try {
    exported = await jiti.import(pathToFileURL(file).href);
  } catch (error) {
    throw loadFailed(file, error);
  }
  return { config: checkConfig(file, exported), file };
}

function checkConfig(file: string, exported: unknown): Config {
  const found = (exported as { default?: unknown } | null)?.default;
  const remedy = 'Write `export default defineConfig({ queues: [work(queue, handler)] })`.';
  if (found === undefined) throw invalid(file, 'has no default export.', remedy);
  const { queues } = (typeof found === 'object' && found !== null ? found : {}) as Partial<Config>;
  if (!Array.isArray(queues)) {
    throw invalid(file, `exports ${describeValue(found)}, which has no queues.`, remedy);
  }
  if (queues.length === 0) throw invalid(file, 'exports a configuration of no queues.', remedy);
  return found as Config;
}

function loadFailed(file: string, error: unknown): HowdahError {
  const message = error instanceof Error ? error.message : String(error);
  return invalid(
    file,
    `does not load: ${message.split('\n')[0]}`,
    'Use --verbose to see where.',
    error,
  );
}

function invalid(file: string, problem: string, remedy: string, cause?: unknown): HowdahError {
  const shown = path.relative(process.cwd(), file);
  return new HowdahError(
    'HOWDAH_HANDLER_INVALID',
    `${shown.startsWith('..') ? file : shown} ${problem}`,
    { cause, details: { file }, remedy },
  );
}
