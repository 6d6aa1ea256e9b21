import type { Digest } from '../../proto/oci/digest.ts';

/** A blob that a repository has and no manifest there was known to name since `sinceMs`. */
export type UnusedLink = { repository: string; digest: Digest; sinceMs: number };

/** What became of an unused link that was looked at. */
export type LinkFate = {
  /** `used`: a manifest names it after all; `fresh`: somebody relied on it meanwhile. */
  fate: 'used' | 'fresh' | 'removed';
  /** Bytes of the blob, if it went into quarantine with its last link. */
  quarantined?: number;
};

/** A blob that no repository has. */
export type IdleBlob = { digest: Digest; size: number; sinceMs: number };

/** A manifest that no tag, index or subject was known to reach since `sinceMs`. */
export type UntaggedManifest = { repository: string; digest: Digest; sinceMs: number };

/** As of a link: `used` is one that something reaches after all. */
export type ManifestFate = LinkFate['fate'];

/** Entries with times up to `beforeMs`, oldest first, that follow `after`. */
export type Due<T> = { beforeMs: number; max: number; after?: T | undefined };

/** How a collection went; `running` until its hub says otherwise, or for ever if that died. */
export type GcRun = {
  id: string;
  begunMs: number;
  endedMs?: number;
  result: 'running' | 'ok' | 'failed' | 'stopped';
  report: GcCounts;
};

/** What a collection did. Sizes in bytes. */
export type GcCounts = {
  /** Deleted since nothing reached them. */
  manifests: number;
  /** Unused blobs of repositories that were looked at. */
  looked: number;
  /** Taken from a repository. */
  unlinked: number;
  quarantined: number;
  quarantinedBytes: number;
  deleted: number;
  deletedBytes: number;
  /** Blobs whose bytes could not be removed; the next collection tries again. */
  failed: number;
};

/** What the collector reads and writes in the catalog. */
export interface GcStore {
  /** Remembers a collection, or how it went on; those long before are forgotten. */
  noteRun(run: GcRun): Promise<void>;
  run(id: string): Promise<GcRun | undefined>;
  /** Those begun last come first. */
  runs(max: number): Promise<GcRun[]>;
  /** Whether a hub collects now. */
  isTaken(nowMs: number): Promise<boolean>;
  /** Untagged manifests that are due, their bytes, and whether something reaches them. */
  untaggedManifests(
    due: Due<UntaggedManifest>,
  ): Promise<(UntaggedManifest & { size: number; used: boolean })[]>;
  /**
   * Deletes those of the manifests that are still due and that nothing reaches, each for itself.
   * What they named, and what referred to them, is then untagged since they were.
   */
  settleManifests(
    manifests: readonly UntaggedManifest[],
    times: { beforeMs: number; nowMs: number },
  ): Promise<ManifestFate[]>;
  /** Unused links that are due, and whether a manifest names them. */
  unusedLinks(due: Due<UnusedLink>): Promise<(UnusedLink & { size: number; used: boolean })[]>;
  /** Decides on links; on each only if it is still due. */
  settleLinks(
    links: readonly UnusedLink[],
    times: { beforeMs: number; nowMs: number },
  ): Promise<LinkFate[]>;
  /** Blobs in quarantine that are due. */
  idleBlobs(due: Due<Pick<IdleBlob, 'digest' | 'sinceMs'>>): Promise<IdleBlob[]>;
  /**
   * Those of the blobs whose bytes may be removed now: in quarantine ever since they were listed,
   * pinned by nobody, and only while nobody holds removals off. They cannot come back before
   * `forgetBlobs`. A later claim ends this one.
   */
  claimBlobs(
    blobs: readonly IdleBlob[],
    claim: { claim: number; beforeMs: number; nowMs: number },
  ): Promise<Digest[]>;
  /** The bytes of blobs under this claim are gone. */
  forgetBlobs(digests: readonly Digest[], claim: number): Promise<void>;
  /** The bytes are still there: the blobs are in quarantine as before. */
  unclaimBlobs(digests: readonly Digest[], claim: number): Promise<void>;
  /** Forgets who had blobs that were collected before this time. */
  forgetLinks(beforeMs: number): Promise<void>;
  /**
   * Takes a blob out of quarantine and gives it back to the repositories that had it; their names,
   * or undefined for a blob that is not in quarantine, or no more.
   */
  restore(digest: Digest, nowMs: number): Promise<string[] | undefined>;
  /**
   * Lets one hub collect at a time: `holder` may until `untilMs`, and claims under the number this
   * resolves with, which no other collection has. Undefined while another hub collects, or the
   * last collection began later than `dueMs`.
   */
  take(lease: {
    holder: string;
    nowMs: number;
    untilMs: number;
    dueMs: number;
  }): Promise<number | undefined>;
  /** Holds on; false when another took it. */
  keep(lease: { holder: string; untilMs: number }): Promise<boolean>;
  release(holder: string): Promise<void>;
}

/** Bytes that a store has and the catalog does not know of. */
export interface OrphanStore {
  /**
   * Puts those of the blobs that the catalog does not know into quarantine, and tells which; one
   * that is being pushed comes out of it with its push.
   */
  adopt(blobs: readonly { digest: Digest; size: number }[], nowMs: number): Promise<Digest[]>;
}

/**
 * Holding removals off in the catalog. From when `hold` resolves until `untilMs`, no hub begins to
 * remove bytes of blobs: what the catalog has as live then keeps its bytes. Content that is taken
 * down goes all the same.
 */
export interface HoldStore {
  hold(id: string, times: { untilMs: number; nowMs: number }): Promise<void>;
  /** Holds longer; false when it has ended. */
  keepHold(id: string, times: { untilMs: number; nowMs: number }): Promise<boolean>;
  endHold(id: string): Promise<void>;
  /** When the last hold ends; undefined when nobody holds removals off. */
  heldUntil(nowMs: number): Promise<number | undefined>;
}

/** What was taken down, in the catalog. */
export interface PurgeStore {
  /**
   * Takes content down: no repository has it any more, nobody can push it. Bytes of such a
   * blob may be removed now, after which `forgetPurged` is called. True when there was such a blob
   * or manifest.
   */
  purge(digest: Digest, nowMs: number): Promise<boolean>;
  /** The content may be pushed again; false when it was not taken down. */
  lift(digest: Digest): Promise<boolean>;
  isPurged(digest: Digest): Promise<boolean>;
  /** By digest. */
  purged(max: number): Promise<Digest[]>;
  /** A peer has acted on the list of this version. */
  noteActed(peerId: string, version: string): Promise<void>;
  /** Peers that have, since something was taken down or lifted last. */
  acted(version: string): Promise<ReadonlySet<string>>;
  /** The bytes of a blob that was taken down are gone. */
  forgetPurged(digest: Digest): Promise<void>;
}
