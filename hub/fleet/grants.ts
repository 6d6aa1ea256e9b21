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

/** Who asks for a grant, and what the runtime behind it showed, if anything. */
export type GrantAsker = { peerId: string; address: string; authorization: string | undefined };

/** Rights to repositories that not everybody may read. */
export interface PrivateRights {
  /** What an agent reads the repository with, if this header gives the right to read it. */
  lend(
    authorization: string,
    repository: string,
    o: { address: string; lifeMs: number },
  ): Promise<string | undefined>;
  /** Whether such a token gives that right now. */
  mayRead(token: string, repository: string): Promise<boolean>;
}

type GrantModules = {
  catalog: { reachable(repository: string, digest: Digest): Promise<Reach | undefined> };
  /** Whether everybody may read the repository. */
  isPublic: (repository: string) => boolean | Promise<boolean>;
  lend: PrivateRights['lend'];
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
   * A grant for a manifest, or for the manifest that references the blob: of a public repository a
   * public one, else one for the asker, if it shows the right. undefined when there is none to
   * give. What a repository reaches is looked up anew after GRANT_CACHE_MS, a right each time.
   */
  async request(
    namespace: string,
    repository: string,
    digest: Digest,
    asker: GrantAsker,
  ): Promise<GrantBundle | undefined> {
    const isOurs = namespace === HUB_NAMESPACE;
    const isPublic = isOurs && (await this.#modules.isPublic(repository));
    const bundle = isPublic
      ? await this.#public(repository, digest)
      : isOurs
        ? await this.#private(repository, digest, asker)
        : undefined;
    const result = bundle === undefined ? 'none' : isPublic ? 'public' : 'private';
    this.#modules.metrics.grants.inc({ result });
    return bundle;
  }

  /**
   * A grant for a peer that is to have content before it is asked for, by somebody's order: who
   * calls has seen to the right. With a `token` it is one for that peer alone.
   */
  async ordered(wish: {
    repository: string;
    digest: Digest;
    peerId: string;
    token: string | undefined;
  }): Promise<GrantBundle | undefined> {
    const { repository, digest, peerId, token } = wish;
    const bundle =
      token === undefined
        ? await this.#public(repository, digest)
        : await this.#lent(repository, digest, { peerId, token });
    this.#modules.metrics.grants.inc({ result: bundle === undefined ? 'none' : 'ordered' });
    return bundle;
  }

  async #private(
    repository: string,
    digest: Digest,
    { peerId, address, authorization }: GrantAsker,
  ): Promise<GrantBundle | undefined> {
    if (authorization === undefined) return undefined;
    const { lifeMs } = this.#options;
    const token = await this.#modules.lend(authorization, repository, { address, lifeMs });
    if (token === undefined) return undefined;
    return this.#lent(repository, digest, { peerId, token });
  }

  async #lent(
    repository: string,
    digest: Digest,
    { peerId, token }: { peerId: string; token: string },
  ): Promise<GrantBundle | undefined> {
    const reach = await this.#modules.catalog.reachable(repository, digest);
    if (reach === undefined || reach.digests.length > GRANT_DIGESTS_MAX) return undefined;
    return { ...this.#sign(repository, reach, peerId), isPrivate: true, token };
  }

  async #public(repository: string, digest: Digest): Promise<GrantBundle | undefined> {
    const { catalog } = this.#modules;
    const key = `${repository} ${digest}`;
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent;
    const reach = await catalog.reachable(repository, digest);
    if (reach === undefined || reach.digests.length > GRANT_DIGESTS_MAX) return undefined;
    const bundle = this.#sign(repository, reach, '');
    this.#recent.set(key, bundle);
    return bundle;
  }

  #sign(repository: string, reach: Reach, peerId: string): GrantBundle {
    const { fleetId, lifeMs, now } = this.#options;
    const issuedAtMs = now();
    const grant = signGrant(
      {
        fleetId,
        peerId,
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
