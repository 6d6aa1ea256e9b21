import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { PASSWORD_MAX_CHARS } from '../../proto/hubapi/admin.ts';
import { LOGIN_CACHE_MAX, LOGIN_CACHE_MS } from './constants.ts';
import { isSecret, type Passwords } from './passwords.ts';
import { parseRobotLogin } from './project.ts';
import type { Rights, Subject } from './rights.ts';
import type { LoginThrottle } from './throttle.ts';

export type Credentials = { user: string; password: string; address: string };

type Admin = { user: string; password: string };
type LoginModules = { rights: Rights; passwords: Passwords; throttle: LoginThrottle };
/** Somebody, and the epoch that the password was right in. */
type Found = { subject: Subject; epoch: string };

const KEY_BYTES = 32;

/** Tells who has a name and a password: the admin, an account or a robot. */
export class Logins {
  readonly #user: Buffer;
  readonly #password: Buffer;
  readonly #modules: LoginModules;
  /** Passwords that were right of late from an address, as codes under a key of this run. */
  readonly #seen: LRUCache<string, Found>;
  readonly #key = randomBytes(KEY_BYTES);
  readonly #adminEpoch: string;

  constructor(
    options: { admin: Admin; adminEpoch: string; now: () => number },
    modules: LoginModules,
  ) {
    const { admin, adminEpoch, now } = options;
    this.#user = hash('sha256', admin.user, 'buffer');
    this.#password = hash('sha256', admin.password, 'buffer');
    this.#adminEpoch = adminEpoch;
    this.#modules = modules;
    this.#seen = new LRUCache({
      max: LOGIN_CACHE_MAX,
      ttl: LOGIN_CACHE_MS,
      perf: { now },
      ttlResolution: 0,
    });
  }

  /**
   * Whose credentials these are, and in which epoch they were found right: what changed meanwhile
   * has a later one. undefined for wrong ones, and for those of somebody who is
   * disabled or expired. A wrong name takes as long as a wrong password.
   * @throws AccessError THROTTLED, BUSY
   */
  async find(credentials: Credentials): Promise<Found | undefined> {
    const { user, password, address } = credentials;
    if (password.length > PASSWORD_MAX_CHARS || user.length > PASSWORD_MAX_CHARS) return undefined;
    // With the address: elsewhere, a right password must cost as much to find as a wrong one.
    const shown = `${address}\n${user}\n${password}`;
    const code = createHmac('sha256', this.#key).update(shown).digest('base64');
    const seen = this.#seen.get(code);
    const { rights, throttle } = this.#modules;
    if (seen !== undefined) {
      const epoch = await rights.epochOf(seen.subject, this.#adminEpoch);
      if (epoch === seen.epoch) return seen;
      this.#seen.delete(code);
    }
    let found: Found | undefined;
    await throttle.run({ user, address }, async () => {
      found = await this.#look(user, password);
      return found !== undefined;
    });
    if (found !== undefined) this.#seen.set(code, found);
    return found;
  }

  async #look(user: string, password: string): Promise<Found | undefined> {
    const { rights, passwords } = this.#modules;
    const robot = parseRobotLogin(user);
    if (robot !== undefined) {
      const row = await rights.robot(robot.project, robot.name);
      const right = isSecret(password, row?.secretHash);
      if (!right || row === undefined || !rights.isActive(row)) return undefined;
      return { subject: { kind: 'robot', ...robot }, epoch: String(row.epoch) };
    }
    const sameUser = timingSafeEqual(hash('sha256', user, 'buffer'), this.#user);
    const samePassword = timingSafeEqual(hash('sha256', password, 'buffer'), this.#password);
    if (sameUser && samePassword) return { subject: { kind: 'admin' }, epoch: this.#adminEpoch };
    const row = sameUser ? undefined : await rights.account(user);
    const right = await passwords.verify(password, row?.passwordHash);
    if (!right || row === undefined || row.disabled) return undefined;
    return { subject: { kind: 'account', name: user }, epoch: String(row.epoch) };
  }
}
