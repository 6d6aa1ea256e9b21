import type { Digest } from '../../proto/oci/digest.ts';

export type BlobEntry = {
  /** Bytes. */
  size: number;
  /** Root of the chunk tree, 32 bytes; absent for a blob that is not chunked. */
  root?: Buffer;
  /** Hashes of the chunks, 32 bytes each. */
  hashes?: Buffer;
};

/** What a repository has of a blob. */
export type BlobLink = {
  /** Bytes. */
  size: number;
  /** Since when no manifest is known to name it, ms since 1970; absent while one does. */
  unusedSinceMs?: number;
};

export type NewBlob = BlobEntry & { digest: Digest };

/** What is known of when a tag was last compared with that of its upstream. */
export type TagCheck = {
  /** Entity tag that the upstream gave for the manifest, for the next question. */
  etag: string | undefined;
  /** ms since 1970, by the clock of the hub that asked. */
  checkedAtMs: number;
};

/** `nowMs`: when it is noted, by that clock. What was noted of later times counts for nothing. */
export type NewTagCheck = TagCheck & { nowMs: number };

export type NewManifest = {
  repository: string;
  digest: Digest;
  mediaType: string;
  bytes: Uint8Array;
  subject?: Digest;
  /** What the referrers API lists it as. */
  artifactType?: string;
  annotations?: Record<string, string>;
  /** A blob that is required is in the repository, or the manifest is not taken. */
  references: readonly { digest: Digest; kind: 'blob' | 'manifest'; required?: boolean }[];
  tags: readonly string[];
  /**
   * Of an upstream: when it was asked what the tags name. It is noted of them; those of which
   * something later is noted stay as they are.
   */
  checked?: NewTagCheck;
};

export type StoredManifest = { digest: Digest; mediaType: string; bytes: Buffer };

/** A manifest as the referrers API lists it. */
export type Referrer = {
  mediaType: string;
  digest: Digest;
  /** Bytes of the manifest. */
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
};

/** Entries after `last` in the order of their bytes, `n` at most. */
export type Page = { n: number; last?: string };

export type ReferrersPage = {
  n: number;
  last?: Digest;
  /** Only those of this type. */
  artifactType?: string;
  /** Most bytes of the entries as JSON; one alone may have more. */
  bytes: number;
};

/** What the hub stores about blobs, manifests and tags. */
export interface Catalog {
  /** A blob of any repository; says nothing about rights. */
  blob(digest: Digest): Promise<BlobEntry | undefined>;
  /** A blob that was pushed or mounted to the repository. */
  blobIn(repository: string, digest: Digest): Promise<BlobLink | undefined>;
  /** Repositories that have the blob, `n` at most; says nothing about rights. */
  repositoriesWith(digest: Digest, n: number): Promise<string[]>;
  /**
   * Keeps the bytes of a blob, if there are any, from being removed while they are uploaded again.
   * @throws CatalogError PURGED; BLOB_LEAVING while they are being removed
   */
  pinBlob(digest: Digest): Promise<'unknown' | 'pinned'>;
  /**
   * Records a blob and that the repository has it. Twice is the same as once. The upload it came
   * by, if that has a record, ends with it.
   * @throws CatalogError PURGED, BLOB_LEAVING
   */
  addBlob(blob: NewBlob, repository: string, upload?: { id: string }): Promise<void>;
  /** Gives the repository a blob that is stored already; false when it is not. */
  linkBlob(repository: string, digest: Digest): Promise<boolean>;
  /** Somebody relies on the repository having the blob; false when it has it no more. */
  useBlob(repository: string, digest: Digest): Promise<boolean>;
  /** Takes a blob from the repository, not from others; false when it had none. */
  removeBlobFrom(repository: string, digest: Digest): Promise<boolean>;
  /**
   * Stores a manifest, what it names and its tags, or nothing of it. A tag moves.
   * @throws CatalogError BLOB_UNLINKED, PURGED
   */
  putManifest(manifest: NewManifest): Promise<void>;
  manifest(
    repository: string,
    reference: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined>;
  /** The manifest that a tag names now. */
  tagged(repository: string, tag: string): Promise<Digest | undefined>;
  /** False when there was no such tag. */
  deleteTag(repository: string, tag: string): Promise<boolean>;
  /** Deletes a manifest and its tags; false when there was none. */
  deleteManifest(repository: string, digest: Digest): Promise<boolean>;
  /** Undefined for a repository nothing was ever pushed to. */
  tags(repository: string, page: Page): Promise<string[] | undefined>;
  repositories(page: Page): Promise<string[]>;
  /** Manifests of the repository whose subject this is, by digest; `more` when others follow. */
  referrers(
    repository: string,
    subject: Digest,
    page: ReferrersPage,
  ): Promise<{ referrers: Referrer[]; more: boolean }>;
  /** Root and packed chunk hashes of a chunked blob. */
  blobChunks(digest: Digest): Promise<{ size: number; root: Buffer; hashes: Buffer } | undefined>;
  /**
   * What a manifest of the repository reaches, over every level, without the manifest itself. The
   * digest is that of the manifest, or of a blob that a manifest of the repository names. Only
   * content that the repository has counts: naming a blob gives no right to it. With `cold` those
   * blobs count too that no repository has: they may be on their way from an upstream. Undefined
   * for an unknown digest, and for more than REACH_MAX digests.
   */
  reachable(
    repository: string,
    digest: Digest,
    options?: { cold?: boolean },
  ): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined>;
}
