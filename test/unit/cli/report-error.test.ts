import { expect, test } from 'vitest';
import { redact } from '../../../src/cli/report-error.js';

const SECRET = 'top/s3cret@x';

test.for([
  `connect to postgres://user:${SECRET}@host:5432/db failed`,
  `"postgres://user:${SECRET}@host/db"`,
  `postgres://:${SECRET}@host`,
  `postgres://host/db?user=u&password=${SECRET}`,
  `postgres://host/db?password=${SECRET}&sslmode=require`,
  `postgres://host/db?sslpassword=${SECRET}&x=1`,
  `postgres://host/db?PASSWORD=${SECRET}`,
  `postgres://host/db?sslkey=${SECRET}`,
  `https://host/x?key=${SECRET}`,
  `host=h user=u password=${SECRET} dbname=d`,
  `host=h password = '${SECRET} and \\' more ${SECRET}' dbname=d`,
  `PGPASSWORD=${SECRET} howdah work`,
  `{"user":"u","password":"${SECRET}","a":1}`,
  `{ password: '${SECRET}' }`,
])('no password is shown: %s', (text) => {
  const safe = redact(text);
  expect(safe).not.toContain('s3cret');
  expect(safe).toContain('***');
});

test.for([
  'postgres://user@host:5432/db',
  'https://example.com:8080/path',
  'Use --url postgres://h1:5432,h2:5432/db.',
  'password authentication failed for user "u"',
  'dedupe key=4711',
])('nothing else is hidden: %s', (text) => {
  expect(redact(text)).toBe(text);
});

test.for([
  'a://a:',
  'a:',
  'password=',
  `password='`,
  `password='\\`,
  'password="\\"',
  'a://',
  '@',
  'w',
  'password ',
])('a long text of %j does not hold up the process', (piece) => {
  // a million characters: looked at from each place to the end, that is half a billion times a thousand
  const text = `postgres://${piece.repeat(Math.ceil(1_000_000 / piece.length))}`;
  const begun = performance.now();
  redact(text);
  expect(performance.now() - begun).toBeLessThan(15_000);
});
