import type { Digest } from '../../proto/oci/digest.ts';

export type RecordedBlob = {
  digest: Digest;
  size: number;
  /** False in quarantine. */
  live: boolean;
  /** Its bytes were being removed when the hub ended: they may be gone. */
  leaving: boolean;
};

export type NamedBlob = { repository: string; manifest: Digest; digest: Digest };

/** What the check reads of the catalog. */
export interface CheckStore {
  /** By digest, those after `after`. */
  blobs(after: Digest | undefined, max: number): Promise<RecordedBlob[]>;
  /** Bytes that a blob is to have; undefined when the catalog has none. */
  sizeOf(digest: Digest): Promise<number | undefined>;
  /** Whether an upload under this id goes on. */
  isUpload(id: string): Promise<boolean>;
  /** The bytes of a blob are lost: no repository has it until it is pushed again. */
  forget(digest: Digest): Promise<void>;
  /** Blobs that manifests name and their repositories have not. */
  absentBlobs(after: NamedBlob | undefined, max: number): Promise<NamedBlob[]>;
  danglingTags(max: number): Promise<{ repository: string; tag: string }[]>;
  manifestBytes(repository: string, digest: Digest): Promise<Uint8Array | undefined>;
}
