import { Random } from '../random.js';
import { describeMachine } from './board.js';
import { Lab } from './lab.js';
import { runScoreboard } from './run.js';
import { FLAT, soak } from './soak.js';

/** For `parseArgs`. */
export const SCOREBOARD_OPTIONS = {
  scoreboard: { type: 'boolean', default: false },
  scale: { type: 'string', default: '1' },
  json: { type: 'string' },
  'write-docs': { type: 'boolean', default: false },
  soak: { type: 'boolean', default: false },
  minutes: { type: 'string', default: '30' },
  rate: { type: 'string', default: '2000' },
} as const;

export const SCOREBOARD_USAGE = `  --scoreboard       measures the figures of docs/reliability.md instead (--only S1,S3)
  --scale <n>        share of the full size, 0.001 to 1; default 1, which takes hours
  --json <file>      a line of JSON a figure is added to it
  --write-docs       what was measured goes into the table of docs/reliability.md
  --soak             one long steady run instead, a snapshot held in its middle third
  --minutes <n>      of the soak, 0.5 to 10000; default 30
  --rate <n>         jobs a second of the soak, 1 to 20000; default 2000
`;

interface Values {
  readonly only?: string | undefined;
  readonly scale?: string | undefined;
  readonly json?: string | undefined;
  readonly 'write-docs'?: boolean | undefined;
  readonly soak?: boolean | undefined;
  readonly minutes?: string | undefined;
  readonly rate?: string | undefined;
}

type Log = (line: string) => void;

/** The scoreboard or the soak, as the command line asks for it. */
export function scoreboard(root: string, seed: string, values: Values, log: Log): Promise<number> {
  if (values.soak) return soakAlone(seed, values, log);
  return runScoreboard({
    root,
    seed,
    scale: between('--scale', values.scale, 0.001, 1),
    only: values.only?.split(','),
    jsonFile: values.json,
    writesDocs: values['write-docs'] ?? false,
    log,
  });
}

async function soakAlone(seed: string, values: Values, log: Log): Promise<number> {
  const minutes = between('--minutes', values.minutes, 0.5, 10_000);
  const rate = between('--rate', values.rate, 1, 20_000);
  log(`seed ${seed}, ${minutes} min at ${rate} jobs a second, ${describeMachine()}`);
  log(`flat is: ${FLAT}`);
  const lab = new Lab({ random: new Random(seed), scale: 1, log });
  try {
    const { measured, faults, isMet } = await soak(lab, { rate, seconds: minutes * 60 });
    log(`${isMet ? 'ok' : 'missed'}: ${measured}; ${faults} sessions ended`);
    return isMet ? 0 : 1;
  } finally {
    await lab.close();
  }
}

function between(option: string, text: string | undefined, min: number, max: number): number {
  const value = Number(text);
  if (value >= min && value <= max) return value;
  throw new Error(`${option} ${text}: use a number from ${min} to ${max}`);
}
