import { hash, timingSafeEqual } from 'node:crypto';
import type { Logger } from '../../proto/ops/logger.ts';
import { adminPassword } from './admin-password.ts';
import {
  AUTHORIZATION_MAX_CHARS,
  TOKEN_LIFE_S,
  TOKEN_SCOPES_MAX,
  WRONG_PASSWORD_LOG_MS,
} from './constants.ts';
import { badCredentials } from './errors.ts';
import type { AccessConfig } from './options.ts';
import { formatScope, parseScope, type RepositoryAccess } from './scope.ts';
import { signToken, verifyToken, type TokenKey } from './tokens.ts';

/** Who asks. A bearer may do what the token says. */
export type Identity =
  | { kind: 'admin' }
  | { kind: 'anonymous' }
  | { kind: 'bearer'; subject: string; access: RepositoryAccess[] };

export type IssuedToken = {
  token: string;
  /** Seconds. */
  expiresIn: number;
  /** RFC 3339. */
  issuedAt: string;
  /** The scopes granted, which may be fewer than those asked for. */
  scope: string;
};

/** Who may do what on this hub: everybody pulls, the admin pushes. */
export interface Access {
  /**
   * Who sent this Authorization header (RFC 7617, RFC 6750). No header and empty Basic credentials
   * are anonymous. @throws AccessError BAD_CREDENTIALS
   */
  identify(authorization: string | undefined): Promise<Identity>;
  mayPull(identity: Identity, repository: string): boolean;
  /** Also the right to delete. */
  mayPush(identity: Identity, repository: string): boolean;
  /** A token with as much of the scopes as the identity has. A wrong scope is left out. */
  issueToken(identity: Identity, scopes: readonly string[], service: string): Promise<IssuedToken>;
  /** Takes the same time for every wrong pair of the same length. */
  verifyAdmin(user: string, password: string): boolean;
}

/**
 * Reads or makes the admin's password.
 * @throws AccessError PASSWORD_TWICE, PASSWORD_EMPTY; errors of node:fs
 */
export async function openAccess(
  options: AccessConfig,
  modules: { dataDir: string; tokenKey: TokenKey; logger: Logger; now?: () => number },
): Promise<Access> {
  const password = await adminPassword(options, modules);
  const { tokenKey, logger, now = Date.now } = modules;
  return new HubAccess({ user: options.adminUsername, password, tokenKey, logger, now });
}

function fingerprint(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

class HubAccess implements Access {
  readonly #user: Buffer;
  readonly #password: Buffer;
  readonly #tokenKey: TokenKey;
  readonly #logger: Logger;
  readonly #now: () => number;
  #wrong = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(input: {
    user: string;
    password: string;
    tokenKey: TokenKey;
    logger: Logger;
    now: () => number;
  }) {
    this.#user = fingerprint(input.user);
    this.#password = fingerprint(input.password);
    this.#tokenKey = input.tokenKey;
    this.#logger = input.logger;
    this.#now = input.now;
  }

  async identify(authorization: string | undefined): Promise<Identity> {
    if (authorization === undefined || authorization === '') return { kind: 'anonymous' };
    if (authorization.length > AUTHORIZATION_MAX_CHARS) {
      throw badCredentials('the Authorization header is too long');
    }
    const [, scheme = '', value = ''] = /^(\S+) +(\S+) *$/.exec(authorization) ?? [];
    switch (scheme.toLowerCase()) {
      case 'basic':
        return this.#basic(value);
      case 'bearer': {
        const nowS = this.#nowS();
        return { kind: 'bearer', ...(await verifyToken(value, { nowS }, this.#tokenKey)) };
      }
      default:
        throw badCredentials('the Authorization header is neither Basic nor Bearer');
    }
  }

  mayPull(_identity: Identity, _repository: string): boolean {
    return true;
  }

  mayPush(identity: Identity, repository: string): boolean {
    if (identity.kind !== 'bearer') return identity.kind === 'admin';
    return identity.access.some(
      ({ name, actions }) => name === repository && actions.includes('push'),
    );
  }

  async issueToken(
    identity: Identity,
    scopes: readonly string[],
    service: string,
  ): Promise<IssuedToken> {
    const access = scopes
      .slice(0, TOKEN_SCOPES_MAX)
      .map(parseScope)
      .filter((wish) => wish !== undefined)
      .map((wish) => granted(identity, wish))
      .filter(({ actions }) => actions.length > 0);
    const nowS = this.#nowS();
    const subject = identity.kind === 'bearer' ? identity.subject : identity.kind;
    const token = await signToken({ subject, service, access, nowS }, this.#tokenKey);
    return {
      token,
      expiresIn: TOKEN_LIFE_S,
      issuedAt: new Date(nowS * 1000).toISOString(),
      scope: access.map(formatScope).join(' '),
    };
  }

  verifyAdmin(user: string, password: string): boolean {
    const sameUser = timingSafeEqual(fingerprint(user), this.#user);
    const samePassword = timingSafeEqual(fingerprint(password), this.#password);
    return sameUser && samePassword;
  }

  #basic(value: string): Identity {
    const text = Buffer.from(value, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 0) throw badCredentials('Basic credentials have no colon');
    if (text === ':') return { kind: 'anonymous' };
    if (this.verifyAdmin(text.slice(0, colon), text.slice(colon + 1))) return { kind: 'admin' };
    this.#tellWrong();
    throw badCredentials('wrong user name or password');
  }

  /** Somebody may be guessing. Without the user name: people type their password there. */
  #tellWrong(): void {
    this.#wrong++;
    const nowMs = this.#now();
    if (nowMs - this.#toldMs < WRONG_PASSWORD_LOG_MS) return;
    this.#logger.warn({ attempts: this.#wrong }, 'wrong user name or password of the admin');
    this.#wrong = 0;
    this.#toldMs = nowMs;
  }

  #nowS(): number {
    return Math.floor(this.#now() / 1000);
  }
}

/** A token is never turned into a longer right to push: only the password gives that. */
function granted(identity: Identity, { name, actions }: RepositoryAccess): RepositoryAccess {
  if (identity.kind === 'admin') return { name, actions };
  return { name, actions: actions.filter((action) => action === 'pull') };
}
