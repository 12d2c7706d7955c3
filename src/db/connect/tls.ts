import { readFileSync } from 'node:fs';
import type pg from 'pg';
import { HowdahError } from '../../core/errors.js';

/** What libpq knows, and `no-verify` of the driver. */
const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
/** What `ssl=` may say instead. */
const SWITCHES: ReadonlyMap<string, string> = new Map([
  ...['true', 'on', 'yes', '1'].map((each) => [each, 'verify-full'] as const),
  ...['false', 'off', 'no', '0'].map((each) => [each, 'disable'] as const),
  ['no-verify', 'no-verify'],
]);
/** Files of libpq's environment, by the parameter of a URL. */
const FILES = { sslrootcert: 'PGSSLROOTCERT', sslcert: 'PGSSLCERT', sslkey: 'PGSSLKEY' } as const;
/** Asked for and passed over, these would leave a connection weaker than was meant. */
const UNSUPPORTED = ['sslcrl', 'sslcrldir', 'require_auth'];

/**
 * The URL as the driver understands it: what it would take for plain text without a word (`sslmode=allow`, an
 * unknown mode) or fall over (`ssl=off`) is put right or refused. Every mode but `disable` uses TLS, and never
 * falls back to plain text; all but `no-verify` verify the server.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function withTls(url: string): string {
  const at = url.indexOf('?');
  const params = new URLSearchParams(at < 0 ? '' : url.slice(at + 1));
  const mode = modeOf(params);
  const isLax = params.get('uselibpqcompat') === 'true';
  if (mode === undefined) return url;
  params.delete('ssl');
  params.set('sslmode', driverMode(mode, isLax));
  if (mode !== 'disable') {
    for (const [name, variable] of Object.entries(FILES)) {
      const file = process.env[variable];
      if (file && !params.has(name)) params.set(name, file);
    }
  }
  return `${at < 0 ? url : url.slice(0, at)}?${params}`;
}

/** What the environment wants, where there is no URL; undefined: it says nothing, the driver decides. */
export function tlsOfEnvironment(): pg.ClientConfig['ssl'] | undefined {
  const mode = modeOf(new URLSearchParams());
  if (mode === undefined) return undefined;
  if (mode === 'disable') return false;
  const [ca, cert, key] = Object.values(FILES).map((variable) => read(variable));
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(mode === 'no-verify' ? { rejectUnauthorized: false } : {}),
  };
}

function modeOf(params: URLSearchParams): string | undefined {
  const unsupported = UNSUPPORTED.find((each) => params.has(each));
  if (unsupported) {
    throw invalid('url', `${unsupported} is not supported, and is not passed over.`);
  }
  const ssl = params.get('ssl');
  if (ssl !== null && !SWITCHES.has(ssl)) throw invalid('url', `ssl=${shown(ssl)} is unknown.`);
  const given = params.get('sslmode') ?? (ssl === null ? undefined : SWITCHES.get(ssl));
  const mode = given ?? (process.env.PGSSLMODE || undefined);
  if (mode === undefined || MODES.includes(mode)) return mode;
  const option = given === undefined ? 'PGSSLMODE' : 'url';
  throw invalid(option, `sslmode ${shown(mode)} is unknown.`);
}

/** The others it takes for the strictest, and some with a warning. */
function driverMode(mode: string, isLax: boolean): string {
  if (isLax) return mode === 'allow' ? 'prefer' : mode;
  return mode === 'disable' || mode === 'no-verify' ? mode : 'verify-full';
}

function read(variable: string): string | undefined {
  const file = process.env[variable];
  if (!file) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(variable, `cannot be read: ${(error as Error).message}.`, error);
  }
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

function invalid(option: string, problem: string, cause?: unknown): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', `Option ${option}: ${problem}`, {
    cause,
    details: { option },
    remedy: `Use sslmode=verify-full, or one of ${MODES.join(', ')}.`,
  });
}
