import type { KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';
import { verifyBundle, type CertifiedKeyState, type KeyBundle } from './key-bundle.ts';
import { keyIdOf, publicKeyFromRaw, type KeyPurpose } from './keys.ts';

type KnownKey = { purpose: KeyPurpose; state: CertifiedKeyState; key: KeyObject };

function indexKeys(bundle: KeyBundle): Map<string, KnownKey> {
  const known = new Map<string, KnownKey>();
  for (const { purpose, state, publicKey } of bundle.keys) {
    const id = keyIdOf(publicKey).toString('hex');
    // The same key under two entries: the stricter state wins.
    if (known.get(id)?.state === 'revoked') continue;
    known.set(id, { purpose, state, key: publicKeyFromRaw(publicKey) });
  }
  return known;
}

/** The keys a node believes, all of them certified by the one root it was told at enrolment. */
export class TrustStore {
  readonly rootFingerprint: string;
  #keys = new Map<string, KnownKey>();
  #serial = 0;

  constructor(options: { rootFingerprint: string }) {
    this.rootFingerprint = options.rootFingerprint;
  }

  /** Serial of the bundle in force; 0 before the first. */
  get serial(): number {
    return this.#serial;
  }

  /**
   * Takes a newer key bundle; the one already in force may be given again.
   * @throws TrustError as verifyBundle, ROLLED_BACK for an older serial than the one in force
   */
  load(bundle: Uint8Array): void {
    const verified = verifyBundle(bundle, this.rootFingerprint);
    if (verified.serial < this.#serial) {
      throw new TrustError(`key bundle ${verified.serial} is older than ${this.#serial}`, {
        code: 'ROLLED_BACK',
      });
    }
    this.#keys = indexKeys(verified);
    this.#serial = verified.serial;
  }

  /**
   * The public key to verify with; retired keys verify, revoked ones do not.
   * @throws TrustError UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE
   */
  verifyKey(keyId: Uint8Array, purpose: KeyPurpose): KeyObject {
    const id = Buffer.from(keyId).toString('hex');
    const known = this.#keys.get(id);
    if (known === undefined) {
      throw new TrustError(`no key ${id} in bundle ${this.#serial}`, { code: 'UNKNOWN_KEY' });
    }
    if (known.state === 'revoked') {
      throw new TrustError(`key ${id} is revoked`, { code: 'REVOKED_KEY' });
    }
    if (known.purpose !== purpose) {
      throw new TrustError(`key ${id} signs a ${known.purpose}, not a ${purpose}`, {
        code: 'WRONG_PURPOSE',
      });
    }
    return known.key;
  }
}
