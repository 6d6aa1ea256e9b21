import type { Digest } from '../../proto/oci/digest.ts';

/** A blob opened for positioned reads. Stays readable while the blob is deleted or replaced. */
export interface OpenBlob extends AsyncDisposable {
  /** Bytes of the whole blob. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `position` on and returns how many there were: fewer than
   * asked only at the end of the blob.
   * @throws BlobStoreError STORE_IO
   */
  read(into: Uint8Array, position: number): Promise<number>;
}

/** Finding and reading blobs that were committed. */
export interface BlobReader {
  stat(digest: Digest): Promise<{ size: number } | undefined>;
  open(digest: Digest): Promise<OpenBlob | undefined>;
}

/**
 * A blob in the making, under no digest and visible to nobody. Calls do not overlap: the caller
 * awaits each. After a failed `append` only `discard` is left.
 */
export interface PendingBlob {
  readonly id: string;
  /** Bytes appended so far; an upload goes on from here. */
  readonly size: number;
  /**
   * Appends the slices in order. They may be reused once the promise has settled.
   * @throws BlobStoreError NO_SPACE, STORE_IO, PENDING_CLOSED
   */
  append(slices: readonly Uint8Array[]): Promise<void>;
  /** Reads back what was appended, as `OpenBlob.read` does. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Makes the bytes the blob of `digest`, which the caller has verified. When this resolves the
   * blob survives a power cut. When it rejects the blob is as it was before, or stored whole if
   * the fault came after its last step; it is never there in part. Afterwards nothing is pending.
   * @throws BlobStoreError NO_SPACE, STORE_IO, PENDING_CLOSED
   */
  commit(digest: Digest): Promise<void>;
  /** Drops the bytes. Does nothing after a commit or an earlier discard; never throws. */
  discard(): Promise<void>;
}

/** Starting new blobs. */
export interface BlobWriter {
  /** @throws BlobStoreError PENDING_LIMIT, NO_SPACE, STORE_IO */
  begin(): Promise<PendingBlob>;
}

/** Removing blobs that nothing refers to any more. */
export interface BlobRemover {
  /** True when there was such a blob. Open readers are not disturbed. */
  remove(digest: Digest): Promise<boolean>;
}

/** What a storage driver offers. Consumers ask for the capability they use. */
export interface BlobStore extends BlobReader, BlobWriter, BlobRemover {
  /** Discards all pending blobs. Nothing may be called afterwards. */
  close(): Promise<void>;
}
