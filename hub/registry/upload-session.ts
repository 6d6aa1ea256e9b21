import { createHash } from 'node:crypto';
import { HASH_BYTES, chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { ContentHasher, type ContentHashes } from '../../proto/chunks/content-hasher.ts';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { freeBytes } from '../../proto/std/free-bytes.ts';
import type { PendingBlob } from '../blobs/port.ts';
import { READ_BACK_BYTES, UPLOAD_BATCH_BYTES, UPLOAD_SLICE_BYTES } from './constants.ts';
import type { SavedLeaves } from './upload-store.ts';

/** What the hub knows of a blob it has seen whole. */
export type FinishedUpload = { digest: Digest; size: number; root: Buffer; hashes: Buffer };

/**
 * The bytes of one upload, hashed into digest and leaves in the pass that stores them. One that
 * another process began is read back and hashed at its end, once, however often it moved.
 */
export class UploadSession {
  readonly #pending: PendingBlob;
  readonly #hasher: ContentHasher | undefined;
  #savedLeaves = 0;
  #lost = false;
  #broken = false;

  constructor(pending: PendingBlob) {
    this.#pending = pending;
    this.#hasher = pending.size === 0 ? new ContentHasher() : undefined;
  }

  get id(): string {
    return this.#pending.id;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** True when the store failed: the upload cannot go on. */
  get broken(): boolean {
    return this.#broken;
  }

  get lost(): boolean {
    return this.#lost;
  }

  /** Another request may write to the upload now: this one writes no more. */
  lose(): void {
    this.#lost = true;
  }

  /**
   * Appends what `source` gives, in batches that take so many bytes of memory, and gives that back.
   * What arrived before `source` failed is kept, so that the client can go on from there.
   * @throws OciError BLOB_UPLOAD_INVALID (409) after `lose`; BlobStoreError, whatever `source`
   * throws
   */
  async append(
    source: AsyncIterable<Buffer>,
    onBytes: (count: number) => void,
    batchBytes: () => number = () => UPLOAD_BATCH_BYTES,
  ): Promise<void> {
    let batch: Buffer[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      const full = batch;
      [batch, bytes] = [[], 0];
      if (this.#lost) throw heldByOther();
      this.#broken = true;
      await this.#pending.append(full);
      this.#broken = false;
      for (const slice of full) {
        this.#hasher?.update(slice);
        freeBytes(slice);
      }
    };
    try {
      for await (const slice of source) {
        batch.push(slice);
        bytes += slice.length + UPLOAD_SLICE_BYTES;
        onBytes(slice.length);
        if (bytes >= batchBytes()) await flush();
      }
    } finally {
      if (bytes > 0) await flush();
    }
  }

  /**
   * Puts all bytes where another process can go on with them.
   * @throws BlobStoreError
   */
  async park(): Promise<{ state: string; size: number; leaves?: SavedLeaves }> {
    const state = await this.#pending.park();
    const hashes = this.#hasher?.leavesFrom(this.#savedLeaves) ?? Buffer.alloc(0);
    const first = this.#savedLeaves;
    this.#savedLeaves += hashes.length / HASH_BYTES;
    return {
      state,
      size: this.size,
      ...(hashes.length === 0 ? {} : { leaves: { first, hashes } }),
    };
  }

  /**
   * Makes the bytes the blob `expected`, durably. `saved` gives the leaves saved while they
   * arrived, to compare with those of the bytes read back.
   * @throws OciError DIGEST_INVALID when they have another digest, BLOB_UPLOAD_UNKNOWN when the
   * store has not kept what it took; BlobStoreError
   */
  async commit(expected: Digest, saved: () => Promise<Buffer>): Promise<FinishedUpload> {
    const found = await this.#hashes(expected, saved);
    if (found.digest !== expected) {
      throw ociError('DIGEST_INVALID', `the ${found.size} bytes sent have digest ${found.digest}`);
    }
    const layout = layoutOf(found.size);
    const hashes =
      layout.chunkCount === 0 ? Buffer.alloc(0) : chunkHashesFromLeaves(found.leaves, layout);
    if (this.#lost) throw heldByOther();
    await this.#pending.commit(expected);
    return { digest: expected, size: found.size, root: found.root, hashes };
  }

  discard(): Promise<void> {
    return this.#pending.discard();
  }

  /** Leaves the upload to whoever goes on with what was parked last. */
  release(): Promise<void> {
    return this.#pending.release();
  }

  async #hashes(
    expected: Digest,
    saved: () => Promise<Buffer>,
  ): Promise<ContentHashes & { digest: Digest }> {
    const algorithm = digestAlgorithm(expected);
    if (this.#hasher !== undefined) {
      const found = this.#hasher.finish();
      const { sha256 } = found.digests;
      return { ...found, digest: algorithm === 'sha256' ? sha256 : await this.#sha512() };
    }
    const hasher = new ContentHasher({ algorithms: [algorithm] });
    await this.#readBack((bytes) => hasher.update(bytes));
    const found = hasher.finish();
    const leaves = await saved();
    if (found.size !== this.size || !leaves.equals(found.leaves.subarray(0, leaves.length))) {
      throw ociError('BLOB_UPLOAD_UNKNOWN', 'a part of the upload was lost; start it again');
    }
    return { ...found, digest: found.digests[algorithm] ?? found.digests.sha256 };
  }

  /** The algorithm is known only now, so the bytes are read back. */
  async #sha512(): Promise<Digest> {
    const hash = createHash('sha512');
    await this.#readBack((bytes) => hash.update(bytes));
    return digestFromBytes('sha512', hash.digest());
  }

  async #readBack(take: (bytes: Buffer) => void): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_BACK_BYTES);
    try {
      for (let at = 0; at < this.size;) {
        const got = await this.#pending.read(buffer, at);
        if (got === 0) return;
        take(buffer.subarray(0, got));
        at += got;
      }
    } finally {
      freeBytes(buffer);
    }
  }
}

/** The refusal of a request that meets another one on its upload. */
export function heldByOther(): Error {
  return ociError('BLOB_UPLOAD_INVALID', 'another request is writing to this upload', {
    status: 409,
  });
}
