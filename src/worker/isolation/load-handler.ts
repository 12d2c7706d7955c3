import { fileURLToPath } from 'node:url';
import { snapshotError } from '../../core/codec/error-snapshot.js';
import { HowdahError } from '../../core/errors.js';
import type { Handler } from '../handler/binding.js';

const EXPORT_REMEDY = 'Export the handler as default, or with the name `handler`.';

/**
 * Imports a handler file and finds the handler among its exports.
 * @param file as a `file:` URL
 * @throws HowdahError HOWDAH_HANDLER_INVALID
 */
export async function loadHandler(file: string): Promise<Handler> {
  let exported: Readonly<Record<string, unknown>>;
  try {
    exported = (await import(file)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw unloadable(file, error);
  }
  // what CommonJS exports, compiled TypeScript included, is the default once more
  const inner = (exported.default ?? {}) as Readonly<Record<string, unknown>>;
  const candidates = [exported.default, exported.handler, inner.default, inner.handler];
  const handler = candidates.find((each) => typeof each === 'function');
  if (handler) return handler as Handler;
  const names = Object.keys(exported);
  const what = names.length === 0 ? 'nothing' : names.slice(0, 10).join(', ');
  throw invalid(file, `exports ${what}, and no handler`, EXPORT_REMEDY);
}

/** @param problem completes "The handler file ..." */
export function invalid(
  file: string,
  problem: string,
  remedy: string,
  cause?: unknown,
): HowdahError {
  const path = fileURLToPath(file);
  return new HowdahError('HOWDAH_HANDLER_INVALID', `The handler file ${path} ${problem}.`, {
    ...(cause === undefined ? {} : { cause }),
    details: { file: path },
    remedy,
  });
}

function unloadable(file: string, error: unknown): HowdahError {
  const { message, code } = snapshotError(error, { stack: false });
  const what = message.split('\n', 1)[0] ?? '';
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    const remedy = 'Node runs TypeScript from 22.18 on; for older versions compile the file.';
    return invalid(file, `cannot be loaded: ${what}`, remedy, error);
  }
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX') {
    const remedy =
      'Node only erases types: do without enums, namespaces and parameter properties, or compile the file.';
    return invalid(file, `cannot be loaded: ${what}`, remedy, error);
  }
  if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${fileURLToPath(file)}'`)) {
    const remedy = "Give a URL such as new URL('./handler.js', import.meta.url).";
    return invalid(file, 'does not exist', remedy, error);
  }
  return invalid(file, `cannot be loaded: ${what}`, 'It must load without an error.', error);
}
