import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Candidate } from './selection.ts';
import type { Orderer } from './store.ts';

/** What images there are, and what they are called. */
export interface Images {
  /** The repository of this hub that a name means, without tag and digest. @throws OciError */
  repositoryOf(name: string): Repository;
  /**
   * What a reference is now, asked for as a client of the registry would; undefined: there is no
   * such image.
   */
  resolve(
    repository: Repository,
    reference: Reference,
    o: { signal: AbortSignal },
  ): Promise<Digest | undefined>;
  /** Tags after `last`, `n` at most; undefined for an unknown repository. */
  tags(repository: Repository, page: { n: number; last?: string }): Promise<string[] | undefined>;
}

/** Who may read what. */
export interface OrderRights {
  isPublic(repository: string): boolean | Promise<boolean>;
  mayStillRead(orderer: Orderer, repository: string): Promise<boolean>;
  lendFor(orderer: Orderer, repository: string, o: { lifeMs: number }): Promise<string | undefined>;
}

/** The fleet as orders see it. */
export interface OrderFleet {
  nodes(): Candidate[];
  orderedGrant(wish: {
    repository: string;
    digest: Digest;
    peerId: string;
    token: string | undefined;
  }): Promise<GrantBundle | undefined>;
}
