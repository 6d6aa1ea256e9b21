import type { ColumnType } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';

/** A number of 64 bits; some databases give it back as text. */
export type Big = ColumnType<number | string, number, number>;
type Bytes = ColumnType<Uint8Array, Uint8Array, Uint8Array>;
/** A time that may be unknown, ms since 1970. */
type OptionalTime = ColumnType<number | string | null, number | null | undefined, number | null>;
/** A column that rows are made without. */
type Later<T> = ColumnType<T, number | undefined, number>;
type OptionalBytes = ColumnType<Uint8Array | null, Uint8Array | null, Uint8Array | null>;

/** What a manifest names: content of the blob store, or another manifest. */
export type ReferenceKind = 'blob' | 'manifest';

/** Tables of migrations 0001, 0003, 0007 and 0010, and of 0012 what goes with tags. */
export type RegistryTables = {
  blob: {
    digest: Digest;
    size: Big;
    /** Root of the chunk tree, 32 bytes. */
    root: OptionalBytes;
    /** Hashes of the chunks, 32 bytes each. */
    hashes: OptionalBytes;
    /** Since when no repository has it; null while one has. */
    quarantined_at_ms: OptionalTime;
    /** Whose claim its bytes are removed under; 0 for none. It comes back when they are gone. */
    deleting: Later<number>;
    /** Its bytes are not removed before this time. */
    pinned_until_ms: Later<number | string>;
  };
  repository: { name: string };
  repository_blob: {
    repository: string;
    digest: Digest;
    /** Since when no manifest is known to name it; null while one does. */
    unused_since_ms: OptionalTime;
  };
  manifest: {
    repository: string;
    digest: Digest;
    media_type: string;
    bytes: Bytes;
    subject: Digest | null;
    artifact_type: string | null;
    /** Since when nothing is known to reach it; null while something does. */
    untagged_since_ms: OptionalTime;
  };
  manifest_reference: {
    repository: string;
    manifest_digest: Digest;
    digest: Digest;
    kind: ReferenceKind;
  };
  tag: { repository: string; name: string; digest: Digest };
  /** When tags of upstreams were last compared. */
  upstream_tag: { repository: string; name: string; etag: string | null; checked_at_ms: Big };
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
  /** Which repositories had a blob that was collected. */
  removed_link: { digest: Digest; repository: string; removed_at_ms: Big };
  /** Who collects now, and when that began. */
  collector: {
    name: string;
    holder: string;
    held_until_ms: Big;
    epoch: number;
    begun_at_ms: Big;
  };
  /** Collections of late. */
  gc_run: {
    id: string;
    begun_at_ms: Big;
    ended_at_ms: OptionalTime;
    result: string;
    /** A JSON object of numbers. */
    report: string;
  };
  /** Content that was taken down. */
  purged_digest: { digest: Digest; purged_at_ms: Big };
  /** Peers that have acted on what is taken down, and which version of that. */
  purge_acted: { peer_id: string; version: string };
};
