import { createHash, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { jwtVerify, SignJWT } from 'jose';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { badCredentials } from './errors.ts';
import type { AccessConfig } from './options.ts';
import { formatScope, parseScope, type ScopeGrant } from './scope.ts';

/** Seconds a token is valid. */
export const TOKEN_LIFE_SECONDS = 900;
const ISSUER = 'flotilla-hub';
const PASSWORD_BYTES = 24;
const HEADER_MAX_CHARS = 8192;

export type Identity =
  | { kind: 'admin' }
  | { kind: 'anonymous' }
  | { kind: 'bearer'; access: readonly ScopeGrant[] };
export type TokenKey = { keyId: Buffer; privateKey: KeyObject; publicKey: KeyObject };
export type IssuedToken = { token: string; expiresIn: number; issuedAt: string; scope: string };

/** Who is asking and what they may do: one administrator pushes, everybody pulls. */
export class Access {
  readonly #username: string;
  readonly #password: string;
  readonly #key: TokenKey;

  constructor(options: { username: string; password: string }, key: TokenKey) {
    this.#username = options.username;
    this.#password = options.password;
    this.#key = key;
  }

  /** Reads an Authorization header; none, or empty Basic, is anonymous. @throws AccessError */
  async identify(header: string | undefined): Promise<Identity> {
    if (header === undefined) return { kind: 'anonymous' };
    if (header.length > HEADER_MAX_CHARS) throw badCredentials('the header is too long');
    const [scheme = '', value = ''] = header.split(' ', 2);
    if (scheme.toLowerCase() === 'bearer') return this.#bearer(value);
    if (scheme.toLowerCase() !== 'basic') throw badCredentials('neither Basic nor Bearer');
    const text = Buffer.from(value, 'base64').toString('utf8');
    if (text === ':') return { kind: 'anonymous' };
    const colon = text.indexOf(':');
    if (colon >= 0 && this.verifyAdmin(text.slice(0, colon), text.slice(colon + 1))) {
      return { kind: 'admin' };
    }
    throw badCredentials('wrong user name or password');
  }

  /** Compares in constant time. */
  verifyAdmin(username: string, password: string): boolean {
    const user = isSame(username, this.#username);
    return isSame(password, this.#password) && user;
  }

  mayPull(_identity: Identity, _repository: string): boolean {
    return true;
  }

  mayPush(identity: Identity, repository: string): boolean {
    if (identity.kind !== 'bearer') return identity.kind === 'admin';
    return identity.access.some(
      ({ type, name, actions }) =>
        type === 'repository' && name === repository && actions.includes('push'),
    );
  }

  /** A token for what this identity may do of what was asked. */
  async issueToken(
    identity: Identity,
    scopes: readonly string[],
    service: string,
  ): Promise<IssuedToken> {
    const access = scopes
      .map(parseScope)
      .filter((scope) => scope !== undefined)
      .map((scope) => ({ ...scope, actions: scope.actions.filter((a) => allows(identity, a)) }))
      .filter(({ actions }) => actions.length > 0);
    const now = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ access })
      .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: this.#key.keyId.toString('hex') })
      .setIssuer(ISSUER)
      .setAudience(service === '' ? 'flotilla' : service)
      .setSubject(identity.kind === 'admin' ? this.#username : '')
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + TOKEN_LIFE_SECONDS)
      .sign(this.#key.privateKey);
    return {
      token,
      expiresIn: TOKEN_LIFE_SECONDS,
      issuedAt: new Date(now * 1000).toISOString(),
      scope: access.map(formatScope).join(' '),
    };
  }

  async #bearer(token: string): Promise<Identity> {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, this.#key.publicKey, {
        algorithms: ['EdDSA'],
        issuer: ISSUER,
        audience: 'flotilla',
      });
      if (protectedHeader.kid !== this.#key.keyId.toString('hex')) throw new Error('other key');
      const access = payload['access'];
      return { kind: 'bearer', access: Array.isArray(access) ? (access as ScopeGrant[]) : [] };
    } catch (cause) {
      throw badCredentials('the token is expired or not of this hub', cause);
    }
  }
}

/**
 * Opens access with the configured administrator; without a password one is generated into
 * `<dataDir>/admin-password`. @throws errors of node:fs
 */
export async function openAccess(
  config: AccessConfig,
  modules: { dataDir: string; tokenKey: TokenKey; logger: Logger },
): Promise<Access> {
  const password =
    config.adminPassword ??
    (config.adminPasswordFile === undefined
      ? await ownPassword(modules.dataDir, modules.logger)
      : (await readFile(config.adminPasswordFile, 'utf8')).trim());
  return new Access({ username: config.adminUsername, password }, modules.tokenKey);
}

async function ownPassword(dataDir: string, logger: Logger): Promise<string> {
  const file = path.join(dataDir, 'admin-password');
  try {
    const handle = await open(file, 'wx', 0o600);
    await handle.writeFile(`${randomBytes(PASSWORD_BYTES).toString('base64url')}\n`);
    await handle.sync();
    await handle.close();
    logger.info({ file }, 'a password for the administrator was made');
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  }
  return (await readFile(file, 'utf8')).trim();
}

function allows(identity: Identity, action: string): boolean {
  return action === 'pull' || (identity.kind === 'admin' && action === 'push');
}

function isSame(a: string, b: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
