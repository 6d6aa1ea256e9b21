import type { Digest } from '../../proto/oci/digest.ts';
import { signBundleStatement } from '../../proto/trust/bundle-statement.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { BUNDLE_KEYS_KEPT } from './constants.ts';
import type { LiveRing } from './live-ring.ts';

type Options = {
  fleetId: string;
  /** Milliseconds since 1970. */
  now: () => number;
};
type Modules = {
  ring: Pick<LiveRing, 'signingKey' | 'bundle' | 'fingerprint' | 'change'>;
};

/** The key that bundles are signed with. */
export class BundleKeys {
  readonly #options: Options;
  readonly #ring: Modules['ring'];

  constructor(options: Options, { ring }: Modules) {
    this.#options = options;
    this.#ring = ring;
  }

  /** The hub's word for the list of a bundle, and the keys of the fleet that prove it. */
  sign(list: { digest: Digest; size: number }): { statement: Buffer; keys: Buffer } {
    const { fleetId, now } = this.#options;
    const key = this.#ring.signingKey('bundle');
    const statement = signBundleStatement({ ...list, fleetId, timeMs: now() }, key);
    return { statement, keys: this.#ring.bundle() };
  }

  /** What others have to know to believe bundles of this hub. */
  public(): {
    fleetId: string;
    fingerprint: string;
    keyId: Buffer;
    publicKey: Buffer;
    keys: Buffer;
  } {
    const { keyId, publicKey } = this.#ring.signingKey('bundle');
    return {
      fleetId: this.#options.fleetId,
      fingerprint: this.#ring.fingerprint(),
      keyId,
      publicKey: rawPublicKey(publicKey),
      keys: this.#ring.bundle(),
    };
  }

  /** Signs with a new key from now on; with `revoke` what the old one signed no longer counts. */
  replace({ revoke }: { revoke: boolean }): Promise<void> {
    const nowMs = this.#options.now();
    return this.#ring.change((ring) => {
      if (revoke) ring.revoke(ring.signingKey('bundle').keyId, nowMs);
      else ring.retire('bundle', nowMs, { keep: BUNDLE_KEYS_KEPT });
    });
  }
}
