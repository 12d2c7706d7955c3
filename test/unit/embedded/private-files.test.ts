import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  giveAway,
  makeFolderOf,
  readSecret,
  writeSecret,
  writeSecretAs,
} from '../../../src/embedded/private-files.js';
import { makeFolder } from '../../support/cli.js';

const NOBODY = { uid: 65_534, gid: 65_534 };
const IS_ROOT = process.getuid?.() === 0;
const REFUSED = { code: 'HOWDAH_EMBEDDED_FAILED' };

describe('in a folder that others may write to', () => {
  test('a secret is written to no link and over no file', () => {
    const folder = makeFolder({ victim: 'as it was' });
    const [victim, none, link, dangling] = ['victim', 'none', 'link', 'dangling'].map((each) =>
      path.join(folder, each),
    ) as [string, string, string, string];
    symlinkSync(victim, link);
    symlinkSync(none, dangling);
    for (const planted of [victim, link, dangling]) {
      expect(() => writeSecret(planted, 'secret', undefined)).toThrow(/EEXIST|ELOOP/);
      expect(() => writeSecretAs(IS_ROOT ? NOBODY : undefined, planted, 'secret')).toThrow();
    }
    expect(readFileSync(victim, 'utf8')).toBe('as it was');
    expect(existsSync(none)).toBe(false);
  });

  test('a secret is read through no link, from no pipe, from nobody else', () => {
    const folder = makeFolder({ secret: 'the secret of somebody else' });
    const link = path.join(folder, 'link');
    symlinkSync(path.join(folder, 'secret'), link);
    const pipe = path.join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const planted of [link, pipe]) {
      expect(() => readSecret(planted, undefined)).toThrow(expect.objectContaining(REFUSED));
    }
    expect(readSecret(path.join(folder, 'none'), undefined)).toBeUndefined();
    const own = path.join(folder, 'own');
    writeSecret(own, 'ours\n', undefined);
    expect(readSecret(own, undefined)).toBe('ours');
    expect(statSync(own).mode & 0o777).toBe(0o600);
  });

  test('nothing is given away that is not ours', () => {
    const folder = makeFolder({});
    const target = path.join(folder, 'target');
    expect(makeFolderOf(undefined, target)).toBe(true);
    const link = path.join(folder, 'link');
    symlinkSync(target, link);
    const { uid } = statSync(target);
    expect(makeFolderOf(NOBODY, link)).toBe(false);
    expect(() => giveAway(link, NOBODY)).toThrow();
    expect(statSync(target).uid).toBe(uid);
  });

  test.runIf(IS_ROOT)('a file of another account is not read, one of the server is', () => {
    const folder = makeFolder({});
    execFileSync('chmod', ['711', folder]);
    const own = path.join(folder, 'data');
    expect(makeFolderOf(NOBODY, own)).toBe(true);
    const file = path.join(own, 'secret');
    writeSecretAs(NOBODY, file, 'of the server\n');
    expect(statSync(file)).toMatchObject(NOBODY);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readSecret(file, NOBODY)).toBe('of the server');
    writeFileSync(path.join(own, 'large'), 'x'.repeat(2_000));
    expect(() => readSecret(path.join(own, 'large'), NOBODY)).toThrow();
    expect(() => readSecret(file, { uid: 1, gid: 1 })).toThrow(expect.objectContaining(REFUSED));
  });
});
