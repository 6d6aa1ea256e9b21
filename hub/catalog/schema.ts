import type { ColumnType } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';

/** A number of 64 bits; some databases give it back as text. */
type Big = ColumnType<number | string, number, number>;
type Bytes = ColumnType<Uint8Array, Uint8Array, Uint8Array>;
type OptionalBytes = ColumnType<Uint8Array | null, Uint8Array | null, Uint8Array | null>;

/** What a manifest names: content of the blob store, or another manifest. */
export type ReferenceKind = 'blob' | 'manifest';

/** Tables of migrations 0001 and 0003. */
export type RegistryTables = {
  blob: {
    digest: Digest;
    size: Big;
    /** Root of the chunk tree, 32 bytes. */
    root: OptionalBytes;
    /** Hashes of the chunks, 32 bytes each. */
    hashes: OptionalBytes;
  };
  repository: { name: string };
  repository_blob: { repository: string; digest: Digest };
  manifest: {
    repository: string;
    digest: Digest;
    media_type: string;
    bytes: Bytes;
    subject: Digest | null;
    artifact_type: string | null;
  };
  manifest_reference: {
    repository: string;
    manifest_digest: Digest;
    digest: Digest;
    kind: ReferenceKind;
  };
  tag: { repository: string; name: string; digest: Digest };
  /** Manifests with a subject, as they are listed. */
  referrer: {
    repository: string;
    digest: Digest;
    subject: Digest;
    media_type: string;
    size: Big;
    artifact_type: string | null;
    /** A JSON object of texts. */
    annotations: string | null;
    /** Bytes of the whole entry as JSON. */
    entry_bytes: Big;
  };
};
