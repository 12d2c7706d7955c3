import { describe, expect, test } from 'vitest';
import { Hosts } from '../../../../src/db/connect/hosts.js';

function urlsOf(url: string | undefined): (string | undefined)[] {
  const hosts = new Hosts(url);
  return Array.from({ length: hosts.count }, (_, index) => hosts.url(index));
}

describe('hosts of a URL', () => {
  test.each([
    ['postgres://h/db', ['postgres://h/db']],
    [
      'postgresql://u:p@h1:1,h2:2/db?x=1',
      ['postgresql://u:p@h1:1/db?x=1', 'postgresql://u:p@h2:2/db?x=1'],
    ],
    [
      'postgres://u:a%2Cb@h1,[::1]:5433/db',
      ['postgres://u:a%2Cb@h1/db', 'postgres://u:a%2Cb@[::1]:5433/db'],
    ],
    ['postgres:///db', ['postgres:///db']],
    ['/var/run/postgresql db', ['/var/run/postgresql db']],
  ])('%s', (url, urls) => {
    expect(urlsOf(url)).toEqual(urls);
  });

  test('none given: the environment decides', () => {
    expect(urlsOf(undefined)).toEqual([undefined]);
  });

  test.each(['', 'mysql://u:secret@h/db', 'h:5432'])('%j is refused without being shown', (url) => {
    expect(() => new Hosts(url)).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_OPTION_INVALID',
        message: expect.not.stringContaining('secret'),
      }),
    );
  });

  test('a failure moves on once, however many met it', () => {
    const hosts = new Hosts('postgres://a,b,c/db');
    const met = hosts.preferred;
    hosts.failed(met);
    hosts.failed(met);
    expect(hosts.preferred).toBe(1);
    hosts.failed(1);
    hosts.failed(2);
    expect(hosts.preferred).toBe(0);
  });
});
