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
type Seen = { subject: Subject; epoch: string };

const KEY_BYTES = 32;

/** Tells who has a name and a password: the admin, an account or a robot. */
export class Logins {
  readonly #user: Buffer;
  readonly #password: Buffer;
  readonly #modules: LoginModules;
  /** Passwords that were right of late from an address, as codes under a key of this run. */
  readonly #seen: LRUCache<string, Seen>;
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
   * Whose credentials these are; undefined for wrong ones, and for those of somebody who is
   * disabled or expired. A wrong name takes as long as a wrong password.
   * @throws AccessError THROTTLED, BUSY
   */
  async find(credentials: Credentials): Promise<Subject | undefined> {
    const { user, password, address } = credentials;
    if (password.length > PASSWORD_MAX_CHARS || user.length > PASSWORD_MAX_CHARS) return undefined;
    // With the address: elsewhere, a right password must cost as much to find as a wrong one.
    const shown = `${address}\n${user}\n${password}`;
    const code = createHmac('sha256', this.#key).update(shown).digest('base64');
    const seen = this.#seen.get(code);
    const { rights, throttle } = this.#modules;
    if (seen !== undefined) {
      const epoch = await rights.epochOf(seen.subject, this.#adminEpoch);
      if (epoch === seen.epoch) return seen.subject;
      this.#seen.delete(code);
    }
    let found: Subject | undefined;
    await throttle.run({ user, address }, async () => {
      found = await this.#look(user, password);
      return found !== undefined;
    });
    const epoch = found && (await rights.epochOf(found, this.#adminEpoch));
    if (found !== undefined && epoch !== undefined) this.#seen.set(code, { subject: found, epoch });
    return found;
  }

  async #look(user: string, password: string): Promise<Subject | undefined> {
    const { rights, passwords } = this.#modules;
    const robot = parseRobotLogin(user);
    if (robot !== undefined) {
      const row = await rights.robot(robot.project, robot.name);
      const right = isSecret(password, row?.secretHash);
      return right && row && rights.isActive(row) ? { kind: 'robot', ...robot } : undefined;
    }
    const sameUser = timingSafeEqual(hash('sha256', user, 'buffer'), this.#user);
    const samePassword = timingSafeEqual(hash('sha256', password, 'buffer'), this.#password);
    if (sameUser && samePassword) return { kind: 'admin' };
    const row = sameUser ? undefined : await rights.account(user);
    const right = await passwords.verify(password, row?.passwordHash);
    return right && row !== undefined && !row.disabled
      ? { kind: 'account', name: user }
      : undefined;
  }
}
