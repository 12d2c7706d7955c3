import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import { exclusiveOptions, givenOptions, type KnownKeys, wholeNumber } from '../../core/option.js';

/**
 * A handler that lives in a module of its own, for work that keeps a processor busy or may take its
 * process down. The module exports the handler as default or with the name `handler`; it is loaded
 * once a thread or process, and each of these runs one job at a time.
 */
export interface HandlerFileOptions {
  /** The module: `new URL('./resize.js', import.meta.url)`, or a path from the working directory. */
  readonly file: string | URL;
  /**
   * How many worker threads, 1 to 256. Default: the processors of this machine less one. A thread does
   * not survive `process.exit`, but its neighbours do. Of a thread whose heap is full that is likely, and not
   * certain: where V8 cannot stop in time it ends the whole process. Use `processes` for work that may need
   * too much memory.
   */
  readonly threads?: number;
  /** Child processes in place of threads, 1 to 256: whatever ends one, a full heap or native code, the worker lives. */
  readonly processes?: number;
  /**
   * Heap of each thread or process in MiB, 16 to 65,536. Default: as Node decides. Buffers are not in it. A firm bound
   * for processes only.
   */
  readonly memoryMb?: number;
}

/** The same with every default filled in. */
export interface HandlerFile {
  /** As a `file:` URL. */
  readonly file: string;
  readonly kind: 'thread' | 'process';
  readonly size: number;
  /** Undefined: as Node decides. */
  readonly memoryMb: number | undefined;
}

const OPTIONS: KnownKeys<HandlerFileOptions> = {
  file: true,
  threads: true,
  processes: true,
  memoryMb: true,
};
const SIZE_MAX = 256;

/**
 * @param queue for messages
 * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_HANDLER_INVALID
 */
export function resolveHandlerFile(queue: string, options: HandlerFileOptions): HandlerFile {
  const { file, threads, processes, memoryMb } = givenOptions('options', options, OPTIONS);
  if (threads !== undefined && processes !== undefined) {
    throw exclusiveOptions('processes', 'threads');
  }
  const isProcess = processes !== undefined;
  return Object.freeze({
    file: toFileUrl(queue, file),
    kind: isProcess ? 'process' : 'thread',
    size: isProcess
      ? wholeNumber('processes', processes, 1, SIZE_MAX)
      : wholeNumber('threads', threads ?? Math.max(1, availableParallelism() - 1), 1, SIZE_MAX),
    memoryMb: memoryMb === undefined ? undefined : wholeNumber('memoryMb', memoryMb, 16, 65_536),
  });
}

function toFileUrl(queue: string, file: unknown): string {
  if (file instanceof URL && file.protocol === 'file:') return file.href;
  if (typeof file === 'string' && file.startsWith('file:')) return file;
  if (typeof file === 'string' && file !== '') return pathToFileURL(path.resolve(file)).href;
  throw new HowdahError(
    'HOWDAH_HANDLER_INVALID',
    `The handler file of queue ${queue} is ${describeValue(file instanceof URL ? file.href : file)}.`,
    {
      details: { queue },
      remedy: "Give a file URL such as new URL('./handler.js', import.meta.url), or a path.",
    },
  );
}
