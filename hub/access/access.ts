import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Seldom } from '../../proto/std/seldom.ts';
import { adminPassword } from './admin-password.ts';
import {
  AUTHORIZATION_MAX_CHARS,
  LENT_MAX_MS,
  PROJECTS_MAX,
  TOKEN_LIFE_S,
  TOKEN_SCOPES_MAX,
  WRONG_PASSWORD_LOG_MS,
} from './constants.ts';
import { badCredentials } from './errors.ts';
import type { LoginStore } from './login-store.ts';
import { Logins } from './logins.ts';
import type { AccessMetrics } from './metrics.ts';
import type { AccessConfig } from './options.ts';
import { Passwords } from './passwords.ts';
import { projectOf } from './project.ts';
import { RefreshTokens } from './refresh.ts';
import { parseSubject, subjectText, type Rights, type Subject } from './rights.ts';
import {
  formatScope,
  grantsOf,
  mergeGrants,
  parseScope,
  type Action,
  type Grant,
} from './scope.ts';
import type { AccessStore } from './store.ts';
import { LoginThrottle } from './throttle.ts';
import { Tokens, type TokenKeys } from './tokens.ts';

/** Who asks. `grants`: what his token was made for; without, he showed his password or nothing. */
export type Identity = {
  subject: Subject;
  epoch: string;
  grants?: readonly Grant[];
  /** Of a token lent to an agent: when the right in it was shown. */
  shownAtMs?: number | undefined;
};

export type IssuedToken = {
  token: string;
  /** Seconds. */
  expiresIn: number;
  /** RFC 3339. */
  issuedAt: string;
  /** The scopes granted, which may be fewer than those asked for. */
  scope: string;
  /** When one was asked for, by somebody with a name. */
  refreshToken?: string | undefined;
};

export type TokenWish = {
  scopes: readonly string[];
  /** Who the token is for; empty: this hub. */
  service: string;
  /** Whether a refresh token is wanted as well. */
  offline: boolean;
};

/** Who may do what on this hub. */
export interface Access {
  readonly rights: Rights;
  readonly passwords: Passwords;
  /**
   * Who sent this Authorization header (RFC 7617, RFC 6750). No header and empty Basic credentials
   * are anonymous. @throws AccessError BAD_CREDENTIALS, THROTTLED, BUSY
   */
  identify(authorization: string | undefined, from: { address: string }): Promise<Identity>;
  /** What the identity may do with a repository now, whatever its token once allowed. */
  actions(identity: Identity, repository: string): Promise<readonly Action[]>;
  /** Whether it may see the names of all repositories it has rights to. */
  mayList(identity: Identity): boolean;
  /** Makes the project of a repository that the admin pushes to, if there is none. */
  adoptProject(identity: Identity, repository: string): Promise<void>;
  /** A token with as much of the scopes as the identity has. A wrong scope is left out. */
  issueToken(identity: Identity, wish: TokenWish): Promise<IssuedToken>;
  /**
   * For an agent whose pod showed this Authorization header: a token with which the agent reads the
   * repository in the name of the pod, until the pod's subject loses that right; undefined without
   * the right. Shown again in time it gives another one, for LENT_MAX_MS after the pod showed it.
   */
  lend(
    authorization: string,
    repository: string,
    o: { address: string; lifeMs: number },
  ): Promise<string | undefined>;
  /**
   * Whether somebody who ordered something may still read the repository, and is who ordered it:
   * what was issued to an account ends with its epoch, and so does what it ordered.
   */
  mayStillRead(orderer: { subject: string; epoch: string }, repository: string): Promise<boolean>;
  /**
   * A token with which an agent reads the repository by such an order; undefined without the right.
   * It is no ground to lend another one.
   */
  lendFor(
    orderer: { subject: string; epoch: string },
    repository: string,
    o: { lifeMs: number },
  ): Promise<string | undefined>;
  /** Whether a token lets its bearer read the repository now. */
  mayRead(token: string, repository: string): Promise<boolean>;
  /** The same for whoever has a refresh token. @throws AccessError BAD_CREDENTIALS */
  refresh(secret: string, wish: TokenWish): Promise<IssuedToken>;
}

/**
 * Reads or makes the admin's password.
 * @throws AccessError PASSWORD_TWICE, PASSWORD_EMPTY; errors of node:fs
 */
export async function openAccess(
  options: AccessConfig,
  modules: {
    dataDir: string;
    tokenKeys: TokenKeys;
    rights: Rights;
    store: AccessStore;
    metrics: AccessMetrics;
    /** Where failed logins are counted when other hubs count too. */
    loginStore?: LoginStore | undefined;
    logger: Logger;
    now?: () => number;
  },
): Promise<Access> {
  const { tokenKeys, rights, store, loginStore, metrics, logger, now = Date.now } = modules;
  const user = options.adminUsername;
  const password = await adminPassword(options, modules);
  const passwords = new Passwords();
  const adminEpoch = await epochOf({ user, password }, passwords, tokenKeys);
  const throttle = new LoginThrottle({ now }, { store: loginStore });
  const admin = { user, password };
  return new HubAccess(
    { adminEpoch, defaultVisibility: options.defaultVisibility, now },
    {
      rights,
      passwords,
      logins: new Logins({ admin, adminEpoch, now }, { rights, passwords, throttle }),
      tokens: new Tokens({ keys: tokenKeys }),
      refreshTokens: new RefreshTokens({ now }, { store }),
      store,
      metrics,
      logger,
    },
  );
}

const ADMIN_EPOCH_TAG = 'flotilla/admin-epoch/v1';
const ADMIN_EPOCH_BYTES = 16;

/** Changes with the password. It stands in tokens, where it tells strangers nothing of it. */
async function epochOf(
  { user, password }: { user: string; password: string },
  passwords: Passwords,
  keys: TokenKeys,
): Promise<string> {
  const fingerprint = await passwords.fingerprint(user, password);
  const sealed = keys.sealed(ADMIN_EPOCH_TAG, Buffer.from(fingerprint));
  return sealed.subarray(0, ADMIN_EPOCH_BYTES).toString('hex');
}

type Options = {
  adminEpoch: string;
  defaultVisibility: AccessConfig['defaultVisibility'];
  now: () => number;
};

type Modules = {
  rights: Rights;
  passwords: Passwords;
  logins: Logins;
  tokens: Tokens;
  refreshTokens: RefreshTokens;
  store: AccessStore;
  metrics: AccessMetrics;
  logger: Logger;
};

/** Beyond the last moment at which a token is ground to lend another, in spite of its rounding. */
const NEVER_AGAIN_MS = 2000;

const ANONYMOUS: Identity = { subject: { kind: 'anonymous' }, epoch: '' };

class HubAccess implements Access {
  readonly rights: Rights;
  readonly passwords: Passwords;
  readonly #options: Options;
  readonly #modules: Modules;
  readonly #wrong: Seldom;

  constructor(options: Options, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
    this.#wrong = new Seldom({ everyMs: WRONG_PASSWORD_LOG_MS, now: options.now });
    this.rights = modules.rights;
    this.passwords = modules.passwords;
  }

  async identify(authorization: string | undefined, from: { address: string }): Promise<Identity> {
    if (authorization === undefined || authorization === '') return ANONYMOUS;
    if (authorization.length > AUTHORIZATION_MAX_CHARS) {
      throw badCredentials('the Authorization header is too long');
    }
    const [, scheme = '', value = ''] = /^(\S+) +(\S+) *$/.exec(authorization) ?? [];
    switch (scheme.toLowerCase()) {
      case 'basic':
        return this.#basic(value, from.address);
      case 'bearer':
        return this.#bearer(value);
      default:
        throw badCredentials('the Authorization header is neither Basic nor Bearer');
    }
  }

  async actions(identity: Identity, repository: string): Promise<readonly Action[]> {
    const { subject, grants } = identity;
    const { rights } = this.#modules;
    const now = await rights.actions(subject, repository);
    if (grants === undefined) return now;
    const named = grants.find((grant) => grant.type === 'repository' && grant.name === repository);
    const allowed: readonly string[] = named?.actions ?? [];
    // What everybody may do needs no token that says so.
    const open = now.includes('pull') && (await rights.isPublic(repository));
    return now.filter((action) => allowed.includes(action) || (open && action === 'pull'));
  }

  mayList({ grants }: Identity): boolean {
    return grants === undefined || grants.some(({ type }) => type === 'registry');
  }

  async adoptProject({ subject }: Identity, repository: string): Promise<void> {
    const { rights, store, logger } = this.#modules;
    const name = projectOf(repository);
    if (subject.kind !== 'admin' || (await rights.visibilityOf(name)) !== undefined) return;
    const { defaultVisibility: visibility, now } = this.#options;
    const row = { name, visibility, createdAtMs: now() };
    const verdict = await store.addProject(row, { max: PROJECTS_MAX });
    rights.changed();
    if (verdict === 'ok') logger.info({ project: name, visibility }, 'project made by a push');
  }

  async issueToken(identity: Identity, wish: TokenWish): Promise<IssuedToken> {
    // A token is never turned into a longer right: only a password or a refresh token gives that.
    const { subject, epoch } = identity.grants === undefined ? identity : ANONYMOUS;
    const { refreshTokens } = this.#modules;
    const offline = wish.offline && subject.kind !== 'anonymous';
    const { service } = wish;
    const refreshToken = offline
      ? await refreshTokens.begin({ subject, epoch, service })
      : undefined;
    return this.#issued({ ...(await this.#sign(subject, epoch, wish)), refreshToken }, subject);
  }

  async refresh(secret: string, wish: TokenWish): Promise<IssuedToken> {
    const { refreshTokens } = this.#modules;
    const { service } = wish;
    const { subject, epoch, family } = await refreshTokens.find(secret, service);
    await this.#checkEpoch(subject, epoch);
    const refreshToken = wish.offline
      ? await refreshTokens.replace(secret, family, { subject, epoch, service })
      : undefined;
    return this.#issued({ ...(await this.#sign(subject, epoch, wish)), refreshToken }, subject);
  }

  #issued(token: IssuedToken, { kind }: Subject): IssuedToken {
    const { tokens } = this.#modules.metrics;
    tokens.inc({ kind: kind === 'anonymous' ? 'anonymous' : 'access' });
    if (token.refreshToken !== undefined) tokens.inc({ kind: 'refresh' });
    return token;
  }

  async lend(
    authorization: string,
    repository: string,
    { address, lifeMs }: { address: string; lifeMs: number },
  ): Promise<string | undefined> {
    const identity = await this.#known(this.identify(authorization, { address }));
    if (identity === undefined || identity.subject.kind === 'anonymous') return undefined;
    if (!(await this.actions(identity, repository)).includes('pull')) return undefined;
    const nowMs = this.#options.now();
    const shownAtMs = identity.shownAtMs ?? nowMs;
    if (nowMs - shownAtMs > LENT_MAX_MS) return undefined;
    return this.#lent(identity, repository, { lifeMs, shownAtMs });
  }

  async mayStillRead(
    orderer: { subject: string; epoch: string },
    repository: string,
  ): Promise<boolean> {
    return (await this.#ordering(orderer, repository)) !== undefined;
  }

  async lendFor(
    orderer: { subject: string; epoch: string },
    repository: string,
    { lifeMs }: { lifeMs: number },
  ): Promise<string | undefined> {
    const identity = await this.#ordering(orderer, repository);
    if (identity === undefined) return undefined;
    const shownAtMs = this.#options.now() - LENT_MAX_MS - NEVER_AGAIN_MS;
    return this.#lent(identity, repository, { lifeMs, shownAtMs });
  }

  async #ordering(
    orderer: { subject: string; epoch: string },
    repository: string,
  ): Promise<Pick<Identity, 'subject' | 'epoch'> | undefined> {
    const { rights } = this.#modules;
    const subject = parseSubject(orderer.subject);
    if (subject === undefined || subject.kind === 'anonymous') return undefined;
    const epoch = await rights.epochOf(subject, this.#options.adminEpoch);
    // Another password of the admin is in the configuration: it is still the admin who ordered.
    if (epoch === undefined) return undefined;
    if (subject.kind !== 'admin' && epoch !== orderer.epoch) return undefined;
    const may = await rights.actions(subject, repository);
    return may.includes('pull') ? { subject, epoch } : undefined;
  }

  #lent(
    { subject, epoch }: Pick<Identity, 'subject' | 'epoch'>,
    repository: string,
    { lifeMs, shownAtMs }: { lifeMs: number; shownAtMs: number },
  ): Promise<string> {
    this.#modules.metrics.tokens.inc({ kind: 'lent' });
    return this.#modules.tokens.sign({
      subject: subjectText(subject),
      epoch,
      service: '',
      grants: [{ type: 'repository', name: repository, actions: ['pull'] }],
      nowS: Math.floor(this.#options.now() / 1000),
      lifeS: Math.floor(lifeMs / 1000),
      shownS: Math.floor(shownAtMs / 1000),
    });
  }

  async mayRead(token: string, repository: string): Promise<boolean> {
    const identity = await this.#known(this.#bearer(token));
    if (identity === undefined) return false;
    return (await this.actions(identity, repository)).includes('pull');
  }

  /** undefined for wrong credentials. */
  async #known(identity: Promise<Identity>): Promise<Identity | undefined> {
    try {
      return await identity;
    } catch (err) {
      if (hasCode(err, 'BAD_CREDENTIALS', 'THROTTLED', 'BUSY')) return undefined;
      throw err;
    }
  }

  async #sign(subject: Subject, epoch: string, wish: TokenWish): Promise<IssuedToken> {
    const wanted = wish.scopes
      .slice(0, TOKEN_SCOPES_MAX)
      .map(parseScope)
      .filter((grant) => grant !== undefined);
    const grants: Grant[] = [];
    for (const grant of mergeGrants(wanted)) {
      // oxlint-disable-next-line no-await-in-loop -- bounded by TOKEN_SCOPES_MAX
      const granted = await this.#granted(subject, grant);
      if (granted !== undefined) grants.push(granted);
    }
    const nowS = Math.floor(this.#options.now() / 1000);
    const claims = { subject: subjectText(subject), epoch, service: wish.service, grants, nowS };
    return {
      token: await this.#modules.tokens.sign(claims),
      expiresIn: TOKEN_LIFE_S,
      issuedAt: new Date(nowS * 1000).toISOString(),
      scope: grants.map(formatScope).join(' '),
    };
  }

  /** The part of a wish that the subject has the right to. */
  async #granted(subject: Subject, wish: Grant): Promise<Grant | undefined> {
    if (wish.type === 'registry') return subject.kind === 'anonymous' ? undefined : wish;
    const may = await this.#modules.rights.actions(subject, wish.name);
    const actions = wish.actions.filter((action) => may.includes(action));
    return actions.length === 0 ? undefined : { ...wish, actions };
  }

  async #bearer(token: string): Promise<Identity> {
    const read = await this.#modules.tokens.verify(token, this.#options.now());
    const subject = parseSubject(read.subject);
    if (subject === undefined) throw badCredentials('the token names nobody this hub knows');
    await this.#checkEpoch(subject, read.epoch);
    const { epoch, resources, shownAtMs } = read;
    return { subject, epoch, grants: grantsOf(resources), shownAtMs };
  }

  /** What was issued before the subject changed has ended. */
  async #checkEpoch(subject: Subject, epoch: string): Promise<void> {
    const current = await this.#modules.rights.epochOf(subject, this.#options.adminEpoch);
    if (current !== epoch) throw badCredentials('what this was issued for has ended; log in again');
  }

  async #basic(value: string, address: string): Promise<Identity> {
    const text = Buffer.from(value, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 0) throw badCredentials('Basic credentials have no colon');
    if (text === ':') return ANONYMOUS;
    const credentials = { user: text.slice(0, colon), password: text.slice(colon + 1), address };
    const { logins, metrics } = this.#modules;
    const found = await logins.find(credentials).catch((err: unknown) => {
      if (hasCode(err, 'THROTTLED')) metrics.logins.inc({ result: 'throttled' });
      if (hasCode(err, 'BUSY')) metrics.logins.inc({ result: 'busy' });
      throw err;
    });
    const { adminEpoch } = this.#options;
    // It may have changed while the password was hashed.
    const epoch = found && (await this.#modules.rights.epochOf(found.subject, adminEpoch));
    const isRight = found !== undefined && epoch === found.epoch;
    metrics.logins.inc({ result: isRight ? 'ok' : 'refused' });
    if (isRight) return found;
    this.#tellWrong();
    throw badCredentials('wrong user name or password');
  }

  /** Somebody may be guessing. Without the user name: people type their password there. */
  #tellWrong(): void {
    const attempts = this.#wrong.add();
    if (attempts === undefined) return;
    this.#modules.logger.warn({ attempts }, 'wrong user name or password');
  }
}
