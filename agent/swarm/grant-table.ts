import type { Digest } from '../../proto/oci/digest.ts';
import { grantKeyHolds, verifyGrant, type GrantBundle } from '../../proto/trust/grant.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import {
  GRANTS_PER_PEER_MAX,
  GRANT_DIGESTS_PER_PEER_MAX,
  REFUSED_GRANTS_MAX,
  REFUSED_GRANTS_WINDOW_MS,
} from './constants.ts';

type OpenGrant = { untilMs: number; digests: ReadonlySet<Digest> };
type Holder = {
  /** By the bytes of the grant, the oldest first. */
  readonly grants: Map<string, OpenGrant>;
  digestCount: number;
  /** Serial of the keys that all of the grants held under. */
  keysSerial: number;
  refused: number;
  refusedSinceMs: number;
};

/** The grants that peers have presented to us, and so which blobs each of them may ask about. */
export class GrantTable {
  readonly #now: () => number;
  readonly #graceMs: () => number;
  readonly #modules: { trust: TrustStore; fleetId: () => string };
  readonly #holders = new Map<string, Holder>();

  constructor(
    options: { now?: () => number; graceMs: () => number },
    modules: { trust: TrustStore; fleetId: () => string },
  ) {
    this.#now = options.now ?? Date.now;
    this.#graceMs = options.graceMs;
    this.#modules = modules;
  }

  /** Verifies a grant and keeps it for the peer. Throws TrustError when it does not hold. */
  open(peerId: string, bundle: GrantBundle): void {
    const holder = this.#holder(peerId);
    this.#closeRevoked(holder);
    const key = bundle.grant.toString('latin1');
    const known = holder.grants.get(key);
    if (known && this.#isOpen(known)) return;
    const grant = verifyGrant(bundle.grant, bundle.digests, this.#modules.trust, {
      nowMs: this.#now(),
      graceMs: this.#graceMs(),
      fleetId: this.#modules.fleetId(),
      peerId,
    });
    const digests = new Set<Digest>(bundle.digests).add(grant.manifestDigest);
    this.#forget(holder, key);
    holder.grants.set(key, { untilMs: grant.notAfterMs, digests });
    holder.digestCount += digests.size;
    this.#trim(holder);
  }

  /** Counts a grant that did not hold. True when the peer has sent too many of them. */
  refused(peerId: string): boolean {
    const holder = this.#holder(peerId);
    const nowMs = this.#now();
    if (nowMs - holder.refusedSinceMs > REFUSED_GRANTS_WINDOW_MS) {
      holder.refused = 0;
      holder.refusedSinceMs = nowMs;
    }
    holder.refused++;
    return holder.refused > REFUSED_GRANTS_MAX;
  }

  /** Whether an open, unexpired grant of the peer, of a key that counts, reaches the digest. */
  reaches(peerId: string, digest: Digest): boolean {
    const holder = this.#holders.get(peerId);
    if (!holder) return false;
    this.#closeRevoked(holder);
    for (const [key, grant] of holder.grants) {
      if (!this.#isOpen(grant)) this.#forget(holder, key);
      else if (grant.digests.has(digest)) return true;
    }
    return false;
  }

  /** Drops what a peer presented, when its last connection is gone. */
  drop(peerId: string): void {
    this.#holders.delete(peerId);
  }

  #holder(peerId: string): Holder {
    let holder = this.#holders.get(peerId);
    if (!holder) {
      const keysSerial = this.#modules.trust.serial;
      const refusedSinceMs = this.#now();
      holder = { grants: new Map(), digestCount: 0, keysSerial, refused: 0, refusedSinceMs };
      this.#holders.set(peerId, holder);
    }
    return holder;
  }

  /** New keys came since the grants were looked at: what a revoked one signed is void. */
  #closeRevoked(holder: Holder): void {
    const { trust } = this.#modules;
    if (holder.keysSerial === trust.serial) return;
    holder.keysSerial = trust.serial;
    for (const key of holder.grants.keys()) {
      if (!grantKeyHolds(Buffer.from(key, 'latin1'), trust)) this.#forget(holder, key);
    }
  }

  #isOpen(grant: OpenGrant): boolean {
    return this.#now() <= grant.untilMs + CLOCK_SKEW_MS + this.#graceMs();
  }

  #trim(holder: Holder): void {
    for (const key of [...holder.grants.keys()].slice(0, -1)) {
      const small = holder.digestCount <= GRANT_DIGESTS_PER_PEER_MAX;
      if (small && holder.grants.size <= GRANTS_PER_PEER_MAX) return;
      this.#forget(holder, key);
    }
  }

  #forget(holder: Holder, key: string): void {
    const grant = holder.grants.get(key);
    if (!grant) return;
    holder.grants.delete(key);
    holder.digestCount -= grant.digests.size;
  }
}
