/** What a connection of its own is for. */
export interface ConnectOptions {
  /**
   * Commits do not wait for the disk: for claims and heartbeats, whose loss in a crash of the server
   * only means a redelivery. Default false.
   */
  readonly asyncCommit?: boolean;
  /** Statements of many jobs pass here: see KEEP_MEMORY. Default false. */
  readonly isBusy?: boolean;
  /**
   * A statement gives up (55P03) after waiting for a lock for so long: an application's transaction may hold
   * it for hours, and others wait for this connection. Default: it waits as long as a statement may take.
   */
  readonly lockTimeoutMs?: number;
}
