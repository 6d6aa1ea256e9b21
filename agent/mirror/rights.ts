import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, type ParsedManifest } from '../../proto/oci/manifest.ts';
import { isOfUpstream } from '../../proto/oci/name.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';

/** Where content is: a namespace and a repository in it. */
type Place = { namespace: string; repository: string };
/** A manifest may be asked for as one and gives rights itself; any other blob gives none. */
type Kind = 'manifest' | 'blob';

/** Who asks: with which header, and whether that is known to allow reading the repository now. */
export type Asker = { authorization: string | undefined; mayRead: boolean };

/** Anybody may have it. Any other audience is the hash of the credentials it was resolved with. */
const OPEN = 'open';

/** Who content was resolved for: by the Authorization header, if there was one. */
function audienceOf(authorization: string | undefined): string {
  return authorization === undefined ? OPEN : hash('sha256', authorization);
}

/**
 * Remembers which digests a manifest gives under `(namespace, repository)`: the manifest was
 * resolved at its registry with rights, so what it references may be answered there for a while,
 * to anybody, or to whoever shows the same credentials. In memory and bounded; what is forgotten
 * is confirmed at the registry again.
 */
export class RightsBook {
  readonly #entries: LRUCache<string, string>;
  readonly #hubTtlMs: number;

  /** `hubTtlMs`: how long rights in the hub's own repositories are remembered. */
  constructor(options: { max: number; ttlMs: number; hubTtlMs?: number; now?: () => number }) {
    const { max, ttlMs, now } = options;
    this.#hubTtlMs = options.hubTtlMs ?? ttlMs;
    const clock = now === undefined ? {} : { perf: { now }, ttlResolution: 0 };
    this.#entries = new LRUCache({ max, ttl: ttlMs, ...clock });
  }

  /**
   * Learns the manifest itself and every digest it references: its registry has just answered it.
   * `digest` must be known to be a manifest of the place: bytes that merely read like one give no
   * rights.
   */
  learn(
    place: Place,
    digest: Digest,
    manifest: ParsedManifest,
    authorization: string | undefined,
  ): void {
    const audience = audienceOf(authorization);
    this.#add('manifest', place, digest, audience);
    for (const [kind, named] of namedBy(place, manifest)) this.#add(kind, place, named, audience);
  }

  /**
   * Learns what a manifest references that this book itself gave the right to: for whom and as long
   * as that one, or rights would last as long as somebody goes on asking.
   */
  inherit(place: Place, digest: Digest, manifest: ParsedManifest): void {
    const own = keyOf('manifest', place, digest);
    const audience = this.#entries.get(own);
    const ttl = Math.floor(this.#entries.getRemainingTTL(own));
    if (audience === undefined || ttl < 1) return;
    for (const [kind, named] of namedBy(place, manifest)) {
      const key = keyOf(kind, place, named);
      const known = this.#entries.get(key);
      if (known === undefined || (known !== OPEN && audience === OPEN)) {
        this.#entries.set(key, audience, { ttl });
      }
    }
  }

  /** Whether the digest was resolved under this name, for anybody or for who asks. */
  covers(place: Place, digest: Digest, asker: Asker): boolean {
    const kinds: readonly Kind[] = ['blob', 'manifest'];
    return kinds.some((kind) => this.#covers(kind, place, digest, asker));
  }

  /** The same, and as a manifest. */
  coversManifest(place: Place, digest: Digest, asker: Asker): boolean {
    return this.#covers('manifest', place, digest, asker);
  }

  #covers(kind: Kind, place: Place, digest: Digest, asker: Asker): boolean {
    const audience = this.#entries.get(keyOf(kind, place, digest));
    if (audience === undefined || audience === OPEN) return audience === OPEN;
    // Credentials for the hub end: that they were good once is not enough.
    if (place.namespace === HUB_NAMESPACE) return asker.mayRead;
    return audience === audienceOf(asker.authorization);
  }

  #add(kind: Kind, place: Place, digest: Digest, audience: string): void {
    const key = keyOf(kind, place, digest);
    // What anybody may read stays so, but its time is not prolonged by somebody with credentials.
    if (audience !== OPEN && this.#entries.get(key) === OPEN) return;
    const isOurs = place.namespace === HUB_NAMESPACE;
    this.#entries.set(key, audience, isOurs ? { ttl: this.#hubTtlMs } : {});
  }
}

/**
 * What of a manifest its registry has seen under the same name. Foreign layers it has not: they may
 * have any digest. Nor has the hub what it passes on of an upstream, which may name what others
 * have: there a grant has to say it, or the hub that has the bytes from there.
 */
function namedBy(place: Place, { config, layers, manifests }: ParsedManifest): [Kind, Digest][] {
  if (place.namespace === HUB_NAMESPACE && isOfUpstream(place.repository)) return [];
  const own = layers.filter((layer) => !isForeignLayer(layer));
  const blobs = config === undefined ? own : [config, ...own];
  return [
    ...manifests.map(({ digest }): [Kind, Digest] => ['manifest', digest]),
    ...blobs.map(({ digest }): [Kind, Digest] => ['blob', digest]),
  ];
}

function keyOf(kind: Kind, place: Place, digest: Digest): string {
  return `${kind} ${place.namespace} ${place.repository} ${digest}`;
}
