import { HowdahError } from '../core/errors.js';

/** Number of the newest migration that this version of the code ships and works with. */
export const SCHEMA_VERSION = 38;

/** @throws HowdahError HOWDAH_SCHEMA_MISSING, HOWDAH_SCHEMA_OLDER, HOWDAH_SCHEMA_NEWER */
export function checkVersion(version: number, schema: string, expected = SCHEMA_VERSION): void {
  if (version === expected) return;
  const details = { schema, version, expected };
  if (version === 0) {
    throw new HowdahError('HOWDAH_SCHEMA_MISSING', `Schema ${schema} is not installed.`, {
      details,
      remedy: 'Run `howdah migrate`.',
    });
  }
  if (version < expected) {
    throw new HowdahError(
      'HOWDAH_SCHEMA_OLDER',
      `Schema ${schema} is at version ${version}, this Howdah needs ${expected}.`,
      { details, remedy: 'Run `howdah migrate`.' },
    );
  }
  throw new HowdahError(
    'HOWDAH_SCHEMA_NEWER',
    `Schema ${schema} is at version ${version}, this Howdah knows only up to ${expected}.`,
    { details, remedy: 'Upgrade the package.' },
  );
}
