import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import {
  GRANT_DIGESTS_MAX,
  grantContentHash,
  HUB_NAMESPACE,
  signGrant,
  type GrantBundle,
} from '../../proto/trust/grant.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { GRANT_CACHE_DIGESTS_MAX, GRANT_CACHE_MS } from './constants.ts';
import type { FleetMetrics } from './metrics.ts';

/** What of a manifest a repository reaches. */
export type Reach = { manifestDigest: Digest; digests: Digest[] };

type GrantModules = {
  catalog: { reachable(repository: string, digest: Digest): Promise<Reach | undefined> };
  /** Whether everybody may read the repository. */
  isPublic: (repository: string) => boolean | Promise<boolean>;
  signingKey: () => SigningKey;
  metrics: Pick<FleetMetrics, 'grants'>;
};

/** Signs what the hub saw the right to. */
export class Grants {
  readonly #options: { fleetId: string; lifeMs: number; now: () => number };
  readonly #modules: GrantModules;
  readonly #recent: LRUCache<string, GrantBundle>;

  constructor(
    options: { fleetId: string; lifeMs: number; now: () => number },
    modules: GrantModules,
  ) {
    this.#options = options;
    this.#modules = modules;
    this.#recent = new LRUCache({
      maxSize: GRANT_CACHE_DIGESTS_MAX,
      sizeCalculation: ({ digests }) => digests.length + 1,
      ttl: GRANT_CACHE_MS,
      perf: { now: options.now },
      ttlResolution: 0,
    });
  }

  /**
   * A public grant for a manifest of a public repository, or for the manifest that references the
   * blob; undefined when there is none to give. The right is looked up anew for each grant that is
   * older than GRANT_CACHE_MS.
   */
  async request(
    namespace: string,
    repository: string,
    digest: Digest,
  ): Promise<GrantBundle | undefined> {
    const bundle = await this.#find(namespace, repository, digest);
    this.#modules.metrics.grants.inc({ result: bundle === undefined ? 'none' : 'public' });
    return bundle;
  }

  async #find(
    namespace: string,
    repository: string,
    digest: Digest,
  ): Promise<GrantBundle | undefined> {
    const { catalog, isPublic } = this.#modules;
    if (namespace !== HUB_NAMESPACE || !(await isPublic(repository))) return undefined;
    const key = `${repository} ${digest}`;
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent;
    const reach = await catalog.reachable(repository, digest);
    if (reach === undefined || reach.digests.length > GRANT_DIGESTS_MAX) return undefined;
    const bundle = this.#sign(repository, reach);
    this.#recent.set(key, bundle);
    return bundle;
  }

  #sign(repository: string, reach: Reach): GrantBundle {
    const { fleetId, lifeMs, now } = this.#options;
    const issuedAtMs = now();
    const grant = signGrant(
      {
        fleetId,
        peerId: '',
        namespace: HUB_NAMESPACE,
        repository,
        manifestDigest: reach.manifestDigest,
        contentHash: grantContentHash(reach.digests),
        issuedAtMs,
        notAfterMs: issuedAtMs + lifeMs,
      },
      this.#modules.signingKey(),
    );
    return { grant, digests: reach.digests };
  }
}
