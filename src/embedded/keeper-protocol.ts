/** First line to the keeper's standard input. The end of the input means that the parent is gone. */
export interface KeeperOrders {
  /** Run in turn; the last one is the server. */
  readonly initdb: readonly string[] | null;
  readonly server: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly workspace: string;
  readonly dataDir: string;
}

/** How a server is told to end: let clients finish, disconnect them, or drop everything. */
export type StopMode = 'smart' | 'fast' | 'immediate';

/** Later lines to the keeper. */
export interface KeeperCommand {
  readonly stop: StopMode;
}

/** Lines from the keeper's standard output. */
export type KeeperReport =
  | { readonly event: 'started'; readonly pid: number }
  | { readonly event: 'ready' }
  | { readonly event: 'ended'; readonly log: string };
