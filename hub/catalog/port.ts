import type { Digest } from '../../proto/oci/digest.ts';

/** What a manifest push writes, in one transaction. */
export type ManifestPush = {
  repository: string;
  digest: Digest;
  mediaType: string;
  bytes: Buffer;
  subject?: Digest;
  artifactType?: string;
  references: readonly { digest: Digest; kind: 'blob' | 'manifest' }[];
  tags: readonly string[];
};
export type StoredManifest = { digest: Digest; mediaType: string; bytes: Buffer };
export type Referrer = StoredManifest & { size: number; artifactType: string | undefined };
/** A page: at most `n` names after `last`, in byte order. */
export type Page = { n: number; last?: string };

/** Facts about blobs and which repositories they are in. */
export interface BlobCatalog {
  blobIn(repository: string, digest: Digest): Promise<{ size: number } | undefined>;
  addBlob(
    blob: { digest: Digest; size: number; root: Buffer; hashes: Buffer },
    repository: string,
  ): Promise<void>;
  /** False when the hub has no such blob. */
  linkBlob(repository: string, digest: Digest): Promise<boolean>;
  removeBlobFrom(repository: string, digest: Digest): Promise<boolean>;
  /** Root and packed chunk hashes of a blob above 4 MiB. */
  blobChunks(digest: Digest): Promise<{ size: number; root: Buffer; hashes: Buffer } | undefined>;
}

/** Manifests and tags. */
export interface ManifestCatalog {
  putManifest(push: ManifestPush): Promise<void>;
  manifest(
    repository: string,
    by: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined>;
  deleteTag(repository: string, tag: string): Promise<boolean>;
  deleteManifest(repository: string, digest: Digest): Promise<boolean>;
  /** undefined: no such repository. */
  tags(repository: string, page: Page): Promise<string[] | undefined>;
  repositories(page: Page): Promise<string[]>;
  referrers(repository: string, subject: Digest): Promise<Referrer[]>;
  /** A manifest of the repository, or the one that names the blob, and all content it reaches. */
  reachable(
    repository: string,
    digest: Digest,
  ): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined>;
}

/** What a catalog driver offers. */
export interface Catalog extends BlobCatalog, ManifestCatalog {
  close(): Promise<void>;
}
