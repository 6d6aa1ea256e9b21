import { createHash } from 'node:crypto';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { PendingBlob } from '../blobs/port.ts';
import { BODY_BUFFER_BYTES, UPLOAD_BATCH_BYTES } from './constants.ts';

/** What the hub knows of a blob it has seen whole. */
export type FinishedUpload = { digest: Digest; size: number; root: Buffer; hashes: Buffer };

/** One upload: bytes are hashed into digest and leaves in the pass that stores them. */
export class UploadSession {
  readonly repository: string;
  readonly #pending: PendingBlob;
  readonly #hasher = new ContentHasher();
  #busy = false;
  #broken = false;
  lastUsedMs = Date.now();

  constructor(repository: string, pending: PendingBlob) {
    this.repository = repository;
    this.#pending = pending;
  }

  get id(): string {
    return this.#pending.id;
  }

  get size(): number {
    return this.#pending.size;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** True when the store failed: the upload cannot go on. */
  get broken(): boolean {
    return this.#broken;
  }

  /**
   * Runs a task while other requests are kept off this upload.
   * @throws OciError BLOB_UPLOAD_INVALID (409), whatever the task throws
   */
  async exclusively<T>(task: () => Promise<T>): Promise<T> {
    if (this.#busy) {
      throw ociError('BLOB_UPLOAD_INVALID', 'another request is writing to this upload', {
        status: 409,
      });
    }
    this.#busy = true;
    try {
      return await task();
    } finally {
      this.#busy = false;
      this.lastUsedMs = Date.now();
    }
  }

  /**
   * Appends what `source` gives, in batches. What arrived before `source` failed is kept, so that
   * the client can go on from there.
   * @throws BlobStoreError, whatever `source` throws
   */
  async append(source: AsyncIterable<Buffer>, onBytes: (count: number) => void): Promise<void> {
    let batch: Buffer[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      const full = batch;
      [batch, bytes] = [[], 0];
      this.#broken = true;
      await this.#pending.append(full);
      this.#broken = false;
      for (const slice of full) this.#hasher.update(slice);
    };
    try {
      for await (const slice of source) {
        batch.push(slice);
        bytes += slice.length;
        onBytes(slice.length);
        if (bytes >= UPLOAD_BATCH_BYTES) await flush();
      }
    } finally {
      if (bytes > 0) await flush();
    }
  }

  /**
   * Makes the bytes the blob `expected`, durably.
   * @throws OciError DIGEST_INVALID when they have another digest; BlobStoreError
   */
  async commit(expected: Digest): Promise<FinishedUpload> {
    const { digests, leaves, root, size } = this.#hasher.finish();
    const actual = digestAlgorithm(expected) === 'sha256' ? digests.sha256 : await this.#sha512();
    if (actual !== expected) {
      throw ociError('DIGEST_INVALID', `the ${size} bytes sent have digest ${actual}`);
    }
    const layout = layoutOf(size);
    const hashes =
      layout.chunkCount === 0 ? Buffer.alloc(0) : chunkHashesFromLeaves(leaves, layout);
    await this.#pending.commit(expected);
    return { digest: expected, size, root, hashes };
  }

  discard(): Promise<void> {
    return this.#pending.discard();
  }

  /** The algorithm is known only now, so the bytes are read back. */
  async #sha512(): Promise<Digest> {
    const hash = createHash('sha512');
    const buffer = Buffer.allocUnsafe(BODY_BUFFER_BYTES);
    for (let at = 0; at < this.size;) {
      const got = await this.#pending.read(buffer, at);
      if (got === 0) break;
      hash.update(buffer.subarray(0, got));
      at += got;
    }
    return digestFromBytes('sha512', hash.digest());
  }
}
