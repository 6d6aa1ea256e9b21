import type { Digest } from '../../proto/oci/digest.ts';
import type { Grant, GrantBundle } from '../../proto/trust/grant.ts';
import { GRANTS_MAX, GRANT_INDEX_MAX } from './constants.ts';

/** A verified grant with what it reaches. */
export type HeldGrant = { grant: Grant; bundle: GrantBundle };

/** Verified grants by place and digest: bounded, least recently used leave first. */
export class GrantCache {
  readonly #held = new Set<HeldGrant>();
  readonly #index = new Map<string, HeldGrant>();

  get size(): number {
    return this.#held.size;
  }

  /** The one used last is at the end. */
  all(): HeldGrant[] {
    return [...this.#held];
  }

  get(namespace: string, repository: string, digest: Digest): HeldGrant | undefined {
    const held = this.#index.get(keyOf(namespace, repository, digest));
    if (held === undefined) return undefined;
    this.#held.delete(held);
    this.#held.add(held);
    return held;
  }

  add(held: HeldGrant): void {
    const { namespace, repository, manifestDigest } = held.grant;
    this.#held.add(held);
    for (const digest of [manifestDigest, ...held.bundle.digests]) {
      this.#index.set(keyOf(namespace, repository, digest), held);
    }
    for (const oldest of this.#held) {
      if (this.#held.size <= GRANTS_MAX && this.#index.size <= GRANT_INDEX_MAX) break;
      if (oldest !== held) this.remove(oldest);
    }
  }

  remove(held: HeldGrant): void {
    this.#held.delete(held);
    const { namespace, repository, manifestDigest } = held.grant;
    for (const digest of [manifestDigest, ...held.bundle.digests]) {
      const key = keyOf(namespace, repository, digest);
      if (this.#index.get(key) === held) this.#index.delete(key);
    }
  }
}

function keyOf(namespace: string, repository: string, digest: Digest): string {
  return `${namespace}\n${repository}\n${digest}`;
}
