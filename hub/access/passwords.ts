import { argon2, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { hasCode } from '../../proto/std/errors.ts';
import {
  ARGON2_LANES,
  ARGON2_MEMORY_KIB,
  ARGON2_PASSES,
  ARGON2_SALT_BYTES,
  ARGON2_TAG_BYTES,
  HASHES_MAX,
  HASH_WAITERS_MAX,
  SECRET_BYTES,
} from './constants.ts';
import { AccessError } from './errors.ts';

const deriveKey = promisify(argon2);

type Cost = { memory: number; passes: number; parallelism: number };

const COST: Cost = {
  memory: ARGON2_MEMORY_KIB,
  passes: ARGON2_PASSES,
  parallelism: ARGON2_LANES,
};
const STORED = new RegExp(
  String.raw`^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})` +
    String.raw`\$([A-Za-z0-9+/]{1,64})\$([A-Za-z0-9+/]{1,128})$`,
);

/** Hashes the passwords of accounts, few at a time: each takes memory and a while. */
export class Passwords {
  readonly #turns = new Semaphore({ permits: HASHES_MAX, queueMax: HASH_WAITERS_MAX });
  /** What an unknown name is compared with, so that it takes as long as a known one. */
  readonly #nobody = encode(COST, randomBytes(ARGON2_SALT_BYTES), randomBytes(ARGON2_TAG_BYTES));

  /**
   * The password as it is stored: argon2id (RFC 9106) with a salt of its own, in the PHC string
   * format. @throws AccessError BUSY
   */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(ARGON2_SALT_BYTES);
    const tag = await this.#derive(password, { ...COST, salt, tagLength: ARGON2_TAG_BYTES });
    return encode(COST, salt, tag);
  }

  /**
   * Whether this is the password; without a stored one it is not, which takes as long.
   * @throws AccessError BUSY
   */
  async verify(password: string, stored: string | undefined): Promise<boolean> {
    const [, m, t, p, salt = '', tag = ''] = STORED.exec(stored ?? this.#nobody) ?? [];
    const wanted = Buffer.from(tag, 'base64');
    if (wanted.length === 0) return false;
    const cost = { memory: Number(m), passes: Number(t), parallelism: Number(p) };
    const input = { ...cost, salt: Buffer.from(salt, 'base64'), tagLength: wanted.length };
    const actual = await this.#derive(password, input);
    return timingSafeEqual(actual, wanted) && stored !== undefined;
  }

  /**
   * Tells one password of a user from another; the same on every hub. Slow to guess a password
   * by, and yet no secret: it is not to be shown.
   * @throws AccessError BUSY
   */
  async fingerprint(user: string, password: string): Promise<string> {
    const salt = hash('sha256', `flotilla ${user}`, 'buffer').subarray(0, ARGON2_SALT_BYTES);
    const tag = await this.#derive(password, { ...COST, salt, tagLength: ARGON2_SALT_BYTES });
    return tag.toString('hex');
  }

  async #derive(
    password: string,
    { salt, ...input }: Cost & { salt: Buffer; tagLength: number },
  ): Promise<Buffer> {
    const turn = await this.#turn();
    try {
      return await deriveKey('argon2id', { message: password, nonce: salt, ...input });
    } finally {
      turn[Symbol.dispose]();
    }
  }

  async #turn(): Promise<Disposable> {
    try {
      return await this.#turns.acquire();
    } catch (err) {
      if (!hasCode(err, 'QUEUE_FULL')) throw err;
      throw new AccessError('too many log in at once; try again', { code: 'BUSY' });
    }
  }
}

function encode({ memory, passes, parallelism }: Cost, salt: Buffer, tag: Buffer): string {
  const cost = `m=${memory},t=${passes},p=${parallelism}`;
  return `$argon2id$v=19$${cost}$${bare(salt)}$${bare(tag)}`;
}

function bare(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}

/** A secret nobody can guess, and so one that a fast hash keeps. */
export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

/** What is stored of a secret of ours: SHA-256, hex. */
export function secretHash(secret: string): string {
  return hash('sha256', secret);
}

/** Takes the same time whatever the secret is. */
export function isSecret(secret: string, storedHash: string | undefined): boolean {
  const actual = Buffer.from(secretHash(secret));
  const wanted = Buffer.from(storedHash ?? secretHash(''));
  const same = wanted.length === actual.length && timingSafeEqual(actual, wanted);
  return same && storedHash !== undefined;
}
