import { createClient } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { Connection } from '../../../../src/db/connect/connection.js';
import { Hosts } from '../../../../src/db/connect/hosts.js';
import { withTls } from '../../../../src/db/connect/tls.js';

function setEnvironment(variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name];
    process.env[name] = value;
    onTestFinished(() => {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    });
  }
}

/** How the driver would encrypt. */
function sslOf(url: string | undefined): unknown {
  const connection = new Connection({}, new Hosts(url));
  return (connection as unknown as { ssl: unknown }).ssl;
}

const VERIFIED = {};
const UNVERIFIED = { rejectUnauthorized: false };

test.for([
  ['sslmode=disable', false],
  ['sslmode=allow', VERIFIED],
  ['sslmode=prefer', VERIFIED],
  ['sslmode=require', VERIFIED],
  ['sslmode=verify-ca', VERIFIED],
  ['sslmode=verify-full', VERIFIED],
  ['sslmode=no-verify', UNVERIFIED],
  ['uselibpqcompat=true&sslmode=require', UNVERIFIED],
  ['uselibpqcompat=true&sslmode=allow', UNVERIFIED],
  ...['false', 'off', 'no', '0'].map((each) => [`ssl=${each}`, false] as const),
  ...['true', 'on', 'yes', '1'].map((each) => [`ssl=${each}`, VERIFIED] as const),
] as const)('%s in a URL', ([query, expected]) => {
  expect(sslOf(`postgres://u@h/db?application_name=a%20b&${query}`)).toEqual(expected);
  setEnvironment({ PGSSLMODE: query.replace(/^.*=/, 'disable') });
  expect(sslOf(`postgres://u@h/db?${query}`), 'before the environment').toEqual(expected);
});

test.for(['allow', 'prefer', 'require', 'verify-ca'])(
  'the driver is never asked for %s, which another version of it may take for less',
  (mode) => {
    expect(withTls(`postgres://u@h/db?sslmode=${mode}`)).toBe(
      'postgres://u@h/db?sslmode=verify-full',
    );
  },
);

test.for([
  ['disable', false],
  ['allow', VERIFIED],
  ['prefer', VERIFIED],
  ['require', VERIFIED],
  ['verify-full', VERIFIED],
  ['no-verify', UNVERIFIED],
] as const)('PGSSLMODE=%s, with a URL and without', ([mode, expected]) => {
  setEnvironment({ PGSSLMODE: mode });
  expect(sslOf(undefined)).toEqual(expected);
  expect(sslOf('postgres://u@h/db')).toEqual(expected);
});

test.for([
  'sslmode=requrie',
  'sslmode=VERIFY-FULL',
  'sslmode=',
  'ssl=maybe',
  'sslcrl=/x',
  'sslmode=verify-full&require_auth=scram-sha-256',
])('%s is refused, never plain text', (query) => {
  expect(() => createClient({ url: `postgres://u:topsecret@h/db?${query}` })).toThrow(
    expect.objectContaining({
      code: 'HOWDAH_OPTION_INVALID',
      message: expect.not.stringContaining('topsecret'),
    }),
  );
});

test('a misspelt PGSSLMODE is refused, with a URL and without', () => {
  setEnvironment({ PGSSLMODE: 'requrie' });
  for (const options of [{}, { url: 'postgres://u@h/db' }]) {
    expect(() => createClient(options)).toThrow(
      expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID', details: { option: 'PGSSLMODE' } }),
    );
  }
});

test('certificates of the environment are used', () => {
  setEnvironment({ PGSSLMODE: 'verify-full', PGSSLROOTCERT: new URL(import.meta.url).pathname });
  const own = { ca: expect.stringContaining('certificates of the environment') };
  expect(sslOf(undefined)).toEqual(own);
  expect(sslOf('postgres://u@h/db')).toEqual(own);
  setEnvironment({ PGSSLROOTCERT: '/no/such/file' });
  expect(() => createClient({})).toThrow(
    expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' }),
  );
});

test('without a word about it, the driver decides', () => {
  expect(sslOf('postgres://u@h/db')).toBe(
    (new pg.Client('postgres://u@h/db') as unknown as { ssl: unknown }).ssl,
  );
});
