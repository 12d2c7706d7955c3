import type { Argv, CommandModule } from 'yargs';
import type { GlobalOptions } from './context.js';

/** A command: how it is called, its options, what it does. */
interface CommandSpec<A extends GlobalOptions> {
  readonly command: string;
  readonly describe: string;
  readonly builder: (yargs: Argv<GlobalOptions>) => unknown;
  readonly handler: (options: A) => void | Promise<void>;
}

/** Typed by hand: yargs' types know `dead-letter-queue`, but not that it is `deadLetterQueue` then. */
export function command<A extends GlobalOptions = GlobalOptions>(
  spec: CommandSpec<A>,
): CommandModule<GlobalOptions, A> {
  return spec as unknown as CommandModule<GlobalOptions, A>;
}
