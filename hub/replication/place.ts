import type { Digest } from '../../proto/oci/digest.ts';
import type { Descriptor, ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Reference, Repository, Tag } from '../../proto/oci/name.ts';

export type Waiting = { signal: AbortSignal };

export type FoundManifest = { bytes: Buffer; digest: Digest; mediaType: string };

/** What is copied from: this hub or another registry. undefined stands for what is not there. */
export interface ReplicationSource {
  /** Repositories that may fit one of the globs. @throws ReplicationError REFUSED */
  repositories(globs: readonly string[], o: Waiting): AsyncIterable<Repository>;
  tags(repository: Repository, o: Waiting): AsyncIterable<Tag>;
  tagged(repository: Repository, tag: Tag, o: Waiting): Promise<Digest | undefined>;
  manifest(
    repository: Repository,
    reference: Reference,
    o: Waiting,
  ): Promise<FoundManifest | undefined>;
  hasBlob(repository: Repository, digest: Digest, o: Waiting): Promise<boolean>;
  /** Bytes `[start, end)`, to the end by default. */
  openBlob(
    repository: Repository,
    digest: Digest,
    o: Waiting & { start: number; end?: number },
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined>;
  referrers(repository: Repository, subject: Digest, o: Waiting): Promise<readonly Descriptor[]>;
}

export type WantedBlob = { digest: Digest; size: number };

/** What a blob that is missing is read from; may be called again from where it broke off. */
export type BlobSupply = {
  /** Whether the source says that it has the blob. */
  has: () => Promise<boolean>;
  /** @throws ReplicationError SOURCE_LACKS */
  open: (range: { start: number; end?: number }) => Promise<AsyncIterable<Buffer>>;
};

/** What is copied to: this hub or another registry. */
export interface ReplicationTarget {
  tags(repository: Repository, o: Waiting): AsyncIterable<Tag>;
  tagged(repository: Repository, tag: Tag, o: Waiting): Promise<Digest | undefined>;
  hasManifest(repository: Repository, digest: Digest, o: Waiting): Promise<boolean>;
  manifest(repository: Repository, digest: Digest, o: Waiting): Promise<FoundManifest | undefined>;
  /**
   * Sees to it that the repository has a blob: it has it already, it is mounted from another
   * repository, or it is copied, going on where an earlier attempt ended.
   */
  provide(
    repository: Repository,
    blob: WantedBlob,
    supply: BlobSupply,
    o: Waiting,
  ): Promise<'present' | 'mounted' | 'copied'>;
  /** Blobs of an artifact whose manifest is not there yet are not to be collected. */
  keep(repository: Repository, blobs: readonly Digest[]): Promise<void>;
  /** Stores a manifest whose parts are there. Referrers of a subject are then found there. */
  putManifest(
    repository: Repository,
    reference: Reference,
    manifest: FoundManifest & { parsed: ParsedManifest },
    o: Waiting,
  ): Promise<void>;
  /** Sees to it that a manifest that is there is found among the referrers of its subject. */
  refer(
    repository: Repository,
    manifest: FoundManifest & { parsed: ParsedManifest },
    o: Waiting,
  ): Promise<void>;
  /** `refused`: it cannot remove that tag and nothing else. */
  deleteTag(
    repository: Repository,
    tag: Tag,
    o: Waiting,
  ): Promise<'deleted' | 'unknown' | 'refused'>;
}

/** Where half-copied blobs are remembered. */
export interface Transfers {
  /** `place`: name of the registry, or empty for this hub. */
  transfer(place: string, repository: string, digest: Digest): Promise<string | undefined>;
  setTransfer(place: string, repository: string, digest: Digest, state: string): Promise<void>;
  dropTransfer(place: string, repository: string, digest: Digest): Promise<void>;
}
