import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';

/**
 * Where a blob was first asked for; kept so that a stored blob can be announced after a restart.
 */
export type BlobOrigin = { namespace: string; repository: string };

/** What is needed to open room for a chunked blob. The caller has verified statement and hashes. */
export type CreateBlob = {
  digest: Digest;
  /** Bytes of the whole blob. */
  size: number;
  /** The signed chunk statement as received. Empty: known only to us, never served to a peer. */
  statement: Buffer;
  /** Packed 32-byte chunk hashes that recompute to the statement's root. */
  hashes: Buffer;
  origin?: BlobOrigin | undefined;
};

export type StoreStats = {
  /** Verified bytes held. */
  bytes: number;
  /** Bytes promised to blobs, held or still to come; this is what the quota limits. */
  reservedBytes: number;
  /** Of those, what is pinned. */
  pinnedBytes: number;
  blobs: number;
  quotaBytes: number;
  /** Time since the content that waits longest was hashed. */
  oldestCheckMs: number;
};

/** A chunked blob (over 4 MiB) on disk, complete or not. Only verified chunks are ever in it. */
export interface StoredBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly layout: ChunkLayout;
  readonly statement: Buffer;
  readonly hashes: Buffer;
  readonly origin: BlobOrigin | undefined;
  /** Verified chunks. Read only for callers; changes are told through onChange. */
  readonly have: ChunkBitmap;
  /** Chunks on disk from an earlier boot that are being checked again; not in `have` yet. */
  readonly pending: ChunkBitmap;
  readonly complete: boolean;
  /** False: no hub-signed statement covers these bytes, so peers are not told about them. */
  readonly servable: boolean;
  /**
   * Stores one chunk that the caller has verified and marks it. `begun`: from now on until it is
   * done, what the bytes were checked against counts. Throws STORE codes DISK_FULL, IO.
   */
  write(index: number, bytes: Buffer, begun?: () => void): Promise<void>;
  /** Fills `into` from `position`. Throws NOT_VERIFIED unless every chunk touched is verified. */
  read(into: Buffer, position: number): Promise<void>;
  /**
   * Has `task` use the open file in which bytes that read() would give lie at `position`; undefined
   * when it cannot be opened. Throws what read() throws. Absent: such bytes lie in no file, or may
   * be written over with others.
   */
  withFile?<T>(
    position: number,
    length: number,
    task: (file: number) => Promise<T>,
  ): Promise<T | undefined>;
  /** Keeps the blob from eviction until disposed; counts as a use, like reading. */
  retain(): Disposable;
  /** Called with the chunk index after it became verified, or after a pending one was lost. */
  onChange(listener: (index: number) => void): Disposable;
}

/** What is needed to open room for a blob that the hub still fetches. */
export type GrowBlob = {
  digest: Digest;
  /** Bytes of the whole blob. */
  size: number;
  /** Names the try of the hub whose leaves the chunks are checked against, 16 bytes. */
  session: Buffer;
  origin?: BlobOrigin | undefined;
};

/**
 * A blob whose chunk hashes become known one after the other, and whose digest may turn out to be
 * wrong. Found under its digest by nobody before it is settled. `pending` are the chunks whose hash
 * is not known; hashes of those are zeros.
 */
export interface GrowingBlob extends StoredBlob {
  readonly session: Buffer;
  /** A statement covers it: it is in the store like any other blob. */
  readonly settled: boolean;
  /**
   * The hashes of chunks from `first` on. Returns how many chunks that were checked in an earlier
   * session have another hash now; these are dropped.
   */
  learn(first: number, hashes: Buffer): number;
  /**
   * Another session: no chunk counts until its hash is learnt again, and those that have the same
   * need not be fetched again.
   */
  renew(session: Buffer): Promise<void>;
  /**
   * Makes it a blob like any other. The caller has verified statement and hashes. Before anybody
   * sees that, `judge` is told what `learn` returns. Throws what ContentStore.create throws.
   */
  settle(
    proof: { statement: Buffer; hashes: Buffer },
    judge?: (others: number) => void,
  ): Promise<void>;
  /** Removes the bytes, unless it is settled; whoever reads it gets EVICTED. */
  discard(): Promise<void>;
}

/**
 * An append-only file of bytes whose digest is not known to be right yet. Never visible by name.
 */
export interface Spool {
  readonly written: number;
  append(bytes: Buffer): Promise<void>;
  /** Fills `into` from `position`; the range must have been appended. Throws CORRUPT. */
  read(into: Buffer, position: number): Promise<void>;
  /** The caller checked the whole digest: becomes a complete, unsigned blob under that digest. */
  commit(verified: { hashes: Buffer }): Promise<StoredBlob>;
  /** Removes the file. Reads in progress end normally. Safe to call twice and after commit. */
  discard(): Promise<void>;
}

export interface ContentStore {
  /** A blob of at most 4 MiB, its digest checked again while reading. */
  getSmall(digest: Digest): Promise<Buffer | undefined>;
  /** Checks the digest, then stores. Throws DIGEST_MISMATCH, STORE_FULL, DISK_FULL. */
  putSmall(digest: Digest, bytes: Buffer, origin?: BlobOrigin): Promise<void>;
  /** What is stored under the digest was asked for under this name, which may be pinned. */
  claim(digest: Digest, origin: BlobOrigin): void;
  /** A chunked blob, complete or partial. Starts the re-check of pending chunks. */
  find(digest: Digest): StoredBlob | undefined;
  /** Whether content of this node's container runtime is shared at all. */
  readonly sharesNode: boolean;
  /** Whether this node's container runtime has a file for the blob that may be shared. */
  isOnNode(digest: Digest): Promise<boolean>;
  /** Idempotent. Throws STORE_FULL when nothing more may be evicted. */
  create(input: CreateBlob): Promise<StoredBlob>;
  /** Room for a blob without a statement. Throws STORE_FULL. */
  spool(input: { digest: Digest; size: number; origin?: BlobOrigin | undefined }): Promise<Spool>;
  /** Room for a blob that the hub still fetches. Throws STORE_FULL. */
  grow(input: GrowBlob): Promise<GrowingBlob>;
  /** Such a blob, and for a while after it is settled. */
  growing(digest: Digest): GrowingBlob | undefined;
  /**
   * What peers may be told about, most recently read first, at most LISTED_MAX. What was not used
   * since the start may come in later lists only.
   */
  list(): Iterable<StoredBlob>;
  stats(): StoreStats;
  close(): Promise<void>;
}
