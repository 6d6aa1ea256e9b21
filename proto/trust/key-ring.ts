import { createPrivateKey, createPublicKey, hash, sign, type KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';
import { BUNDLE_KEYS_MAX, signBundle, type CertifiedKey } from './key-bundle.ts';
import {
  fingerprintOf,
  generateSigningKey,
  KEY_PURPOSES,
  keyIdOf,
  publicKeyFromRaw,
  rawPublicKey,
  signingKeyFrom,
  type KeyPurpose,
  type SigningKey,
} from './keys.ts';

/** Purposes that came later: a ring written before has no key for them yet. */
const LATER_PURPOSES: readonly KeyPurpose[] = ['tag', 'replica'];

const RING_TITLE = 'flotilla key ring 1';
const PEM =
  '-----BEGIN (?:PRIVATE|PUBLIC) KEY-----\\n' +
  '[A-Za-z0-9+/=\\n]+' +
  '-----END (?:PRIVATE|PUBLIC) KEY-----\\n';
const BLOCK = new RegExp(
  `^# (root|${KEY_PURPOSES.join('|')}) (active|retired|revoked)\\n(${PEM})`,
  'gm',
);

function malformed(what: string, cause?: unknown): TrustError {
  return new TrustError(`key ring: ${what}`, { code: 'MALFORMED' }, { cause });
}

function header(text: string, name: string): number {
  const value = Number(new RegExp(`^# ${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  if (!Number.isSafeInteger(value)) throw malformed(`no ${name}`);
  return value;
}

function readKey(pem: string): KeyObject {
  try {
    return pem.includes('PRIVATE') ? createPrivateKey(pem) : createPublicKey(pem);
  } catch (cause) {
    throw malformed('unreadable key', cause);
  }
}

function pkcs8(key: SigningKey): string {
  return key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** The hub's keys: one root, which only certifies, and one active key for each purpose. */
export class KeyRing {
  readonly #root: SigningKey;
  readonly #active: Map<KeyPurpose, SigningKey>;
  #past: CertifiedKey[];
  #serial: number;
  #issuedAtMs: number;

  private constructor(content: {
    root: SigningKey;
    active: Map<KeyPurpose, SigningKey>;
    past: CertifiedKey[];
    serial: number;
    issuedAtMs: number;
  }) {
    this.#root = content.root;
    this.#active = content.active;
    this.#past = content.past;
    this.#serial = content.serial;
    this.#issuedAtMs = content.issuedAtMs;
  }

  /** A new fleet: fresh root and purpose keys. `nowMs` is milliseconds since 1970. */
  static create(nowMs: number): KeyRing {
    return new KeyRing({
      root: generateSigningKey('bundle'),
      active: new Map(KEY_PURPOSES.map((purpose) => [purpose, generateSigningKey(purpose)])),
      past: [],
      serial: 1,
      issuedAtMs: nowMs,
    });
  }

  /**
   * Reads what `toPem` wrote, of an earlier version too: see `complete`. Throws TrustError
   * MALFORMED.
   */
  static fromPem(text: string): KeyRing {
    if (!text.startsWith(`# ${RING_TITLE}\n`)) throw malformed('unknown kind or version');
    // A past key that is damaged must not be forgotten in silence: the bundle would lack it.
    const rest = text.replaceAll(BLOCK, '').split('\n');
    const stray = rest.find((line) => line.trim() !== '' && !line.startsWith('# '));
    if (stray !== undefined) throw malformed('damaged key');
    let root: SigningKey | undefined;
    const active = new Map<KeyPurpose, SigningKey>();
    const past: CertifiedKey[] = [];
    for (const [, purpose, state, pem] of text.matchAll(BLOCK)) {
      const key = readKey(pem ?? '');
      const named = KEY_PURPOSES.find((name) => name === purpose);
      if (state === 'active' && key.type !== 'private') throw malformed(`${purpose}: public only`);
      if (named === undefined) {
        root = signingKeyFrom('bundle', key);
      } else if (state === 'active') {
        active.set(named, signingKeyFrom(named, key));
      } else {
        const pastState = state === 'revoked' ? 'revoked' : 'retired';
        past.push({ purpose: named, publicKey: rawPublicKey(key), state: pastState });
      }
    }
    const missing = KEY_PURPOSES.filter(
      (purpose) => !active.has(purpose) && !LATER_PURPOSES.includes(purpose),
    );
    if (root === undefined || missing.length > 0) {
      throw malformed(`missing keys: ${root === undefined ? 'root' : missing.join(', ')}`);
    }
    const serial = header(text, 'serial');
    return new KeyRing({ root, active, past, serial, issuedAtMs: header(text, 'issued') });
  }

  /**
   * Makes the keys that a ring of an earlier version lacks. True when there were any: the ring has
   * changed and is to be stored.
   */
  complete(nowMs: number): boolean {
    const missing = KEY_PURPOSES.filter((purpose) => !this.#active.has(purpose));
    for (const purpose of missing) this.#active.set(purpose, generateSigningKey(purpose));
    if (missing.length > 0) this.#changed(nowMs);
    return missing.length > 0;
  }

  /** The whole ring with its private keys, as one text; past keys without private part. */
  toPem(): string {
    const parts = [
      `# ${RING_TITLE}\n# serial: ${this.#serial}\n# issued: ${this.#issuedAtMs}\n`,
      `# root active\n${pkcs8(this.#root)}`,
      ...[...this.#active].map(([purpose, key]) => `# ${purpose} active\n${pkcs8(key)}`),
      ...this.#past.map(({ purpose, state, publicKey }) => {
        const pem = publicKeyFromRaw(publicKey).export({ format: 'pem', type: 'spki' });
        return `# ${purpose} ${state}\n${pem.toString()}`;
      }),
    ];
    return parts.join('');
  }

  get serial(): number {
    return this.#serial;
  }

  /** The active key of a purpose. */
  signingKey(purpose: KeyPurpose): SigningKey {
    const key = this.#active.get(purpose);
    if (key === undefined) throw malformed(`no ${purpose} key`);
    return key;
  }

  /**
   * A key of a purpose that is not revoked, by its id in hex; one that was replaced signed nothing
   * after `retiredMs`.
   */
  verificationKey(
    purpose: KeyPurpose,
    keyId: string,
  ): { publicKey: KeyObject; retiredMs?: number } | undefined {
    const active = this.signingKey(purpose);
    if (active.keyId.toString('hex') === keyId) return { publicKey: active.publicKey };
    const past = this.#past.find(
      (key) => key.purpose === purpose && keyIdOf(key.publicKey).toString('hex') === keyId,
    );
    if (past === undefined || past.state === 'revoked') return undefined;
    return { publicKey: publicKeyFromRaw(past.publicKey), retiredMs: this.#issuedAtMs };
  }

  /** The root-signed list of all purpose keys, for TrustStore.load. */
  bundle(): Buffer {
    const active = [...this.#active.values()].map((key) => ({
      purpose: key.purpose,
      publicKey: rawPublicKey(key.publicKey),
      state: 'active' as const,
    }));
    return signBundle(
      {
        serial: this.#serial,
        rootPublicKey: rawPublicKey(this.#root.publicKey),
        keys: [...active, ...this.#past],
        issuedAtMs: this.#issuedAtMs,
      },
      this.#root,
    );
  }

  /** Hex SHA-256 of the root's raw public key. */
  fingerprint(): string {
    return fingerprintOf(rawPublicKey(this.#root.publicKey));
  }

  /**
   * A value that follows from these bytes for whoever has this ring, and that nobody else can
   * compute or check a guess against: SHA-256 of the root's signature (deterministic, RFC 8032
   * section 5.1.6). The root is never replaced, so that no rotation changes it. `tag` is a domain
   * tag that nothing else is signed under.
   */
  sealed(tag: string, bytes: Uint8Array): Buffer {
    const signed = Buffer.concat([Buffer.from(`${tag}\0`, 'latin1'), bytes]);
    return hash('sha256', sign(null, signed, this.#root.privateKey), 'buffer');
  }

  /**
   * Replaces the active key of a purpose; what the old one signed stays valid. With `keep`, only so
   * many of the keys retired before are kept: of a purpose whose objects do not live long.
   */
  retire(purpose: KeyPurpose, nowMs: number, { keep }: { keep?: number } = {}): void {
    if (keep !== undefined) {
      const isOld = (key: CertifiedKey): boolean =>
        key.purpose === purpose && key.state === 'retired';
      const surplus = new Set(this.#past.filter(isOld).slice(0, -keep));
      this.#past = this.#past.filter((key) => !surplus.has(key));
    }
    this.#replace(purpose, 'retired', nowMs);
  }

  /**
   * Makes all that a key ever signed invalid; an active one is replaced.
   * @throws TrustError UNKNOWN_KEY
   */
  revoke(keyId: Uint8Array, nowMs: number): void {
    const wanted = Buffer.from(keyId);
    const active = [...this.#active.values()].find((key) => key.keyId.equals(wanted));
    if (active !== undefined) {
      this.#replace(active.purpose, 'revoked', nowMs);
      return;
    }
    const index = this.#past.findIndex((key) => keyIdOf(key.publicKey).equals(wanted));
    if (index === -1) {
      throw new TrustError(`no key ${wanted.toString('hex')} in the ring`, { code: 'UNKNOWN_KEY' });
    }
    this.#past = this.#past.map((key, i) => (i === index ? { ...key, state: 'revoked' } : key));
    this.#changed(nowMs);
  }

  /**
   * Goes on from a copy that may be old: whoever has seen a newer ring takes this one, if that had
   * fewer than `gap` changes more. What keys of `purposes` ever signed is no longer valid.
   */
  restart(purposes: readonly KeyPurpose[], { gap, nowMs }: { gap: number; nowMs: number }): void {
    this.#past = this.#past.filter(({ purpose }) => !purposes.includes(purpose));
    for (const purpose of purposes) this.#active.set(purpose, generateSigningKey(purpose));
    this.#serial += gap;
    this.#changed(nowMs);
  }

  #replace(purpose: KeyPurpose, state: 'retired' | 'revoked', nowMs: number): void {
    if (this.#active.size + this.#past.length >= BUNDLE_KEYS_MAX) {
      throw new RangeError(`the ring is full: a bundle holds at most ${BUNDLE_KEYS_MAX} keys`);
    }
    const publicKey = rawPublicKey(this.signingKey(purpose).publicKey);
    this.#past = [...this.#past, { purpose, publicKey, state }];
    this.#active.set(purpose, generateSigningKey(purpose));
    this.#changed(nowMs);
  }

  #changed(nowMs: number): void {
    this.#serial++;
    this.#issuedAtMs = nowMs;
  }
}
