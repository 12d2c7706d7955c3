import type pg from 'pg';
import { HowdahError } from '../../core/errors.js';
import { tlsOfEnvironment, withTls } from './tls.js';

/**
 * The servers of a URL such as `postgres://user@h1:5432,h2:5432/db`, tried in turn. The driver knows
 * one host per URL, so the list is split into one URL each. `target_session_attrs` is not read: only
 * a server that takes writes is of use here.
 */
export class Hosts {
  readonly #urls: readonly (string | undefined)[];
  /** Set where there is no URL and the environment says how to encrypt. */
  readonly ssl: pg.ClientConfig['ssl'] | undefined;
  #preferred = 0;

  /** @param url undefined: what the environment says (PGHOST, PGUSER, ...) */
  constructor(url: string | undefined) {
    this.ssl = url === undefined ? tlsOfEnvironment() : undefined;
    this.#urls = url === undefined ? [undefined] : splitUrl(url);
  }

  get count(): number {
    return this.#urls.length;
  }

  /** The host to try now: the last that worked. */
  get preferred(): number {
    return this.#preferred;
  }

  /** URL of a host, undefined for the environment's. */
  url(host: number): string | undefined {
    return this.#urls[host];
  }

  /** Moves on to the next host, unless somebody who met the same failure already did. */
  failed(host: number): void {
    if (host === this.#preferred) this.#preferred = (host + 1) % this.#urls.length;
  }
}

const URL_PARTS = /^(postgres(?:ql)?:\/\/)(?:([^/?#]*)@)?([^/?#@]*)([/?#].*)?$/s;

function splitUrl(url: string): string[] {
  if (url.startsWith('/') || url.startsWith('socket:')) return [url];
  const parts = URL_PARTS.exec(url);
  // The value is not shown: it may hold a password.
  if (!parts) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', 'Option url is not a PostgreSQL URL.', {
      details: { option: 'url' },
      remedy: 'Write postgres://user@host:5432/database.',
    });
  }
  const [, scheme = '', user, authority = '', rest = ''] = parts;
  const login = user === undefined ? '' : `${user}@`;
  return authority.split(',').map((host) => withTls(`${scheme}${login}${host}${rest}`));
}
