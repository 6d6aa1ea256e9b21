import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ParsedManifest } from '../../proto/oci/manifest.ts';

/** How content was resolved: `open` to anybody, or with the credentials of one runtime. */
export type Audience = 'open' | 'credentials';

/**
 * Remembers which digests a manifest gives under `(namespace, repository)`: the manifest was
 * resolved at its registry with rights, so what it references may be answered there for a while.
 * In memory and bounded; what is forgotten is confirmed at the registry again.
 */
export class RightsBook {
  readonly #entries: LRUCache<string, Audience>;

  constructor(options: { max: number; ttlMs: number; now?: () => number }) {
    const { max, ttlMs, now } = options;
    const clock = now === undefined ? {} : { perf: { now }, ttlResolution: 0 };
    this.#entries = new LRUCache({ max, ttl: ttlMs, ...clock });
  }

  /** Learns the manifest itself and every digest it references. */
  learn(
    place: { namespace: string; repository: string },
    digest: Digest,
    manifest: ParsedManifest,
    audience: Audience,
  ): void {
    this.#add(place, digest, audience);
    if (manifest.config !== undefined) this.#add(place, manifest.config.digest, audience);
    for (const layer of manifest.layers) this.#add(place, layer.digest, audience);
    for (const child of manifest.manifests) this.#add(place, child.digest, audience);
  }

  /** How the digest was resolved under this name; undefined when it was not, or long ago. */
  audience(place: { namespace: string; repository: string }, digest: Digest): Audience | undefined {
    return this.#entries.get(keyOf(place, digest));
  }

  #add(place: { namespace: string; repository: string }, digest: Digest, audience: Audience): void {
    const key = keyOf(place, digest);
    // What anybody may read stays so, but its time is not prolonged by somebody with credentials.
    if (audience === 'credentials' && this.#entries.get(key) === 'open') return;
    this.#entries.set(key, audience);
  }
}

function keyOf(place: { namespace: string; repository: string }, digest: Digest): string {
  return `${place.namespace} ${place.repository} ${digest}`;
}
