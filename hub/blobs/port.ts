import type { Digest } from '../../proto/oci/digest.ts';

/** A blob opened for positioned reads. Stays readable while the blob is deleted or replaced. */
export interface OpenBlob extends AsyncDisposable {
  /** Bytes of the whole blob. */
  readonly size: number;
  /** True when bytes were still on their way when it was opened: `read` waits for them. */
  readonly isGrowing?: boolean;
  /**
   * Says which bytes will be read, in order, so that storage far away is asked for them at once
   * and not found wanting after the answer has begun. False when the bytes are lost.
   * @throws BlobStoreError STORE_IO, STORE_AWAY
   */
  expect?(range: { start: number; end: number }): Promise<boolean>;
  /**
   * Fills `into` with the bytes from `position` on and returns how many there were: fewer than
   * asked only at the end of the blob, or of what is here of one that grows. Calls do not overlap.
   * @throws BlobStoreError STORE_IO, STORE_AWAY
   */
  read(into: Uint8Array, position: number): Promise<number>;
}

/** Finding and reading blobs that were committed. */
export interface BlobReader {
  stat(digest: Digest): Promise<{ size: number } | undefined>;
  open(digest: Digest): Promise<OpenBlob | undefined>;
  /** Where anybody may read the blob for a while, if the store wants them to go there. */
  addressOf?(digest: Digest): Promise<string | undefined>;
}

/**
 * Where a blob in the making stands, for the store that wrote it; JSON. Holds no secret, and is
 * worth nothing to a client.
 */
export type PendingState = string;

/**
 * A blob in the making, under no digest and visible to nobody. Calls do not overlap: the caller
 * awaits each. After a failed `append` only `discard` and `release` are left.
 */
export interface PendingBlob {
  readonly id: string;
  /** Bytes appended so far; an upload goes on from here. */
  readonly size: number;
  /**
   * Puts all bytes where another process finds them with `resume`, until the next `append`. What
   * an earlier state named is kept until the call after this one.
   * @throws BlobStoreError NO_SPACE, STORE_IO, STORE_AWAY, PENDING_CLOSED
   */
  park(): Promise<PendingState>;
  /**
   * Appends the slices in order. They may be reused once the promise has settled.
   * @throws BlobStoreError NO_SPACE, STORE_IO, STORE_AWAY, PENDING_CLOSED, TOO_LARGE
   */
  append(slices: readonly Uint8Array[]): Promise<void>;
  /**
   * Reads back what was appended, as `OpenBlob.read` does. Nothing can be appended afterwards: some
   * stores have to end a blob before it can be read.
   */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * The same while appending goes on, by any number of readers; not there where a store cannot.
   * @throws BlobStoreError STORE_IO; PENDING_CLOSED after a commit, discard or release
   */
  readBeside?(into: Uint8Array, position: number): Promise<number>;
  /**
   * Makes the bytes the blob of `digest`, which the caller has verified. When this resolves the
   * blob survives a power cut. When it rejects the blob is as it was before, or stored whole if
   * the fault came after its last step; it is never there in part. Afterwards nothing is pending.
   * @throws BlobStoreError NO_SPACE, STORE_IO, STORE_AWAY, PENDING_CLOSED
   */
  commit(digest: Digest): Promise<void>;
  /** Drops the bytes. Does nothing after a commit, discard or release; never throws. */
  discard(): Promise<void>;
  /** Lets go of it and leaves what the last `park` told for `resume`; never throws. */
  release(): Promise<void>;
}

/** Starting new blobs, and going on with them. */
export interface BlobWriter {
  /** Bytes of the largest blob that it can take. */
  readonly sizeMax: number;
  /** @throws BlobStoreError PENDING_LIMIT, NO_SPACE, STORE_IO, STORE_AWAY */
  begin(): Promise<PendingBlob>;
  /**
   * Goes on where `park` was called, in any process that sees the same place; bytes appended after
   * it are dropped. One process at a time may do so. Undefined when the bytes are not there whole.
   * @throws BlobStoreError PENDING_LIMIT, STORE_IO, STORE_AWAY
   */
  resume(state: PendingState): Promise<PendingBlob | undefined>;
}

/** Clearing away what processes that are gone were writing. */
export interface BlobSweeper {
  /**
   * Removes blobs in the making that nobody has written to since `beforeMs` (Unix time), is
   * writing to here, or can name: `known` tells which of these ids somebody goes on with. Returns
   * how many it removed.
   * @throws BlobStoreError STORE_IO, STORE_AWAY
   */
  sweep(options: {
    beforeMs: number;
    known: (ids: readonly string[]) => Promise<ReadonlySet<string>>;
  }): Promise<number>;
}

/** Removing blobs that nothing refers to any more. */
export interface BlobRemover {
  /**
   * Names the bytes that a blob has now; bytes that are stored later have another name. A store
   * without it is for one process alone.
   */
  nameOf?(digest: Digest): Promise<string | undefined>;
  /**
   * True when there was such a blob, with bytes of that name if one is given: other bytes stay.
   * Open readers are not disturbed.
   */
  remove(digest: Digest, name?: string): Promise<boolean>;
}

/** Going through the blobs that a store has, for who looks for those nobody knows. */
export interface BlobLister {
  /**
   * Blobs of one step through the store, and where the next step begins; undefined after the last.
   * @throws BlobStoreError STORE_IO, STORE_AWAY
   */
  stored(from: string | undefined): Promise<{
    blobs: { digest: Digest; size: number }[];
    next: string | undefined;
  }>;
}

/** What a storage driver offers. Consumers ask for the capability they use. */
export interface BlobStore extends BlobReader, BlobWriter, BlobRemover, BlobSweeper, BlobLister {
  /**
   * Finds out whether a blob could be stored now.
   * @throws BlobStoreError
   */
  probe(): Promise<void>;
  /** Releases all pending blobs. Nothing may be called afterwards. */
  close(): Promise<void>;
}
