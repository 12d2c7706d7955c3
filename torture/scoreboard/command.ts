import { runScoreboard } from './run.js';

/** For `parseArgs`. */
export const SCOREBOARD_OPTIONS = {
  scoreboard: { type: 'boolean', default: false },
  scale: { type: 'string', default: '1' },
  json: { type: 'string' },
  'write-docs': { type: 'boolean', default: false },
  soak: { type: 'boolean', default: false },
} as const;

export const SCOREBOARD_USAGE = `  --scoreboard       measures the figures of docs/reliability.md instead (--only S1,S3)
  --scale <n>        share of the full size, 0.001 to 1; default 1, which takes hours
  --json <file>      a line of JSON a figure is added to it
  --write-docs       what was measured goes into the table of docs/reliability.md
`;

interface Values {
  readonly only?: string | undefined;
  readonly scale?: string | undefined;
  readonly json?: string | undefined;
  readonly 'write-docs'?: boolean | undefined;
}

/** The scoreboard, as the command line asks for it. */
export function scoreboard(
  root: string,
  seed: string,
  values: Values,
  log: (line: string) => void,
): Promise<number> {
  const scale = Number(values.scale);
  if (!(scale >= 0.001 && scale <= 1))
    throw new Error(`--scale ${values.scale}: use a number from 0.001 to 1`);
  return runScoreboard({
    root,
    seed,
    scale,
    only: values.only?.split(','),
    jsonFile: values.json,
    writesDocs: values['write-docs'] ?? false,
    log,
  });
}
