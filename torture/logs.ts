import { readFileSync } from 'node:fs';

/** One operation of a producer, and what it was told. */
export interface Operation {
  readonly op: string;
  readonly queue: string;
  readonly ns: readonly number[];
  readonly group?: string;
  readonly key?: string;
  readonly delayMs?: number;
  /** Its place among all lines of its producer. */
  readonly sentAt: number;
  /** Undefined: it never came back. */
  endedAt?: number;
  end: 'ok' | 'failed' | 'open';
  id?: string;
  created?: boolean;
  code?: string;
}

/** What a worker said of a job. */
export interface WorkerLine {
  readonly worker: string;
  readonly type: string;
  readonly id?: string;
  readonly attempt?: number;
  readonly outcome?: string;
  readonly isUncertain?: boolean;
  readonly code?: string;
}

/** Lines of a log; the last may have been cut off by the end of its process. */
function linesOf(file: string): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line)];
      } catch {
        return [];
      }
    });
}

export function readOperations(file: string): Operation[] {
  const open = new Map<number, Operation>();
  const all: Operation[] = [];
  for (const [place, line] of linesOf(file).entries()) {
    const { phase, ...facts } = line as { phase: string; ns: number[] } & Record<string, unknown>;
    const [first = -1] = facts.ns;
    if (phase === 'sent') {
      const operation = { ...facts, sentAt: place, end: 'open' } as unknown as Operation;
      open.set(first, operation);
      all.push(operation);
    } else {
      const operation = open.get(first);
      if (!operation) continue;
      operation.end = phase === 'ok' ? 'ok' : 'failed';
      operation.endedAt = place;
      const { id, created, code } = facts as Partial<Operation>;
      Object.assign(operation, { id, created, code });
    }
  }
  return all;
}

export function readWorkerLog(file: string, worker: string): WorkerLine[] {
  return linesOf(file).map((line) => ({ ...line, worker }) as unknown as WorkerLine);
}
