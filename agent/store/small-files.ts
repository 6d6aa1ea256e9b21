import { rm, utimes } from 'node:fs/promises';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { digestAlgorithm, digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { BlobPaths } from './blob-paths.ts';
import { StoreError } from './errors.ts';
import { readBounded, replaceFile } from './files.ts';

/** Blobs of at most 4 MiB, each one file. Their digest is checked on the way in and out. */
export class SmallFiles {
  readonly #paths: BlobPaths;

  constructor(paths: BlobPaths) {
    this.#paths = paths;
  }

  /** undefined when absent or damaged; a damaged file is removed. */
  async read(digest: Digest): Promise<Buffer | undefined> {
    const path = this.#paths.small(digest);
    const bytes = await readOrNothing(path);
    if (bytes === undefined) return undefined;
    if (digestOf(bytes, digestAlgorithm(digest)) === digest) return bytes;
    await this.remove(digest);
    return undefined;
  }

  /** Throws StoreError OUT_OF_RANGE over 4 MiB, DIGEST_MISMATCH, DISK_FULL, IO. */
  async write(digest: Digest, bytes: Buffer): Promise<void> {
    checkSmall(digest, bytes);
    await replaceFile(this.#paths.small(digest), this.#paths.temporary(), bytes);
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.#paths.small(digest), { force: true });
  }

  /** Remembers the use on disk, for an index made anew; failing to is harmless. */
  async touch(digest: Digest, nowMs: number): Promise<void> {
    try {
      await utimes(this.#paths.small(digest), nowMs / 1000, nowMs / 1000);
    } catch {
      // The order of use is a hint.
    }
  }
}

/** A file that cannot be read is as good as none: the content is had elsewhere. */
async function readOrNothing(path: string): Promise<Buffer | undefined> {
  try {
    return await readBounded(path, UNCHUNKED_MAX_BYTES);
  } catch {
    return undefined;
  }
}

/** @throws StoreError OUT_OF_RANGE, DIGEST_MISMATCH */
export function checkSmall(digest: Digest, bytes: Buffer): void {
  if (bytes.length > UNCHUNKED_MAX_BYTES) {
    throw new StoreError(`${bytes.length} bytes are not a small blob`, { code: 'OUT_OF_RANGE' });
  }
  if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
    throw new StoreError(`bytes do not hash to ${digest}`, { code: 'DIGEST_MISMATCH', digest });
  }
}
