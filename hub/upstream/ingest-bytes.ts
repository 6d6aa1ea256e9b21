import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves, HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { digestAlgorithm, type Digest } from '../../proto/oci/digest.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { freeBytes } from '../../proto/std/free-bytes.ts';
import type { BlobWriter, PendingBlob } from '../blobs/port.ts';
import { READ_BACK_BYTES } from '../registry/constants.ts';
import type { FinishedUpload } from '../registry/upload-session.ts';
import type { SavedLeaves } from '../registry/upload-store.ts';
import type { Spool, SpoolFolder } from './spool.ts';

type Modules = { blobs: Pick<BlobWriter, 'begin' | 'resume'>; spools: SpoolFolder };
type Parts = { pending: PendingBlob; spool: Spool | undefined; digest: Digest; saved: Buffer };

/**
 * The bytes of a blob on its way: stored, hashed in one pass, and read while they arrive. What was
 * parked before is read back and compared with the leaves that were saved, before anybody reads
 * it; where it cannot be read yet, readers wait for the end, and it is hashed then.
 */
export class IngestBytes {
  readonly #pending: PendingBlob;
  readonly #spool: Spool | undefined;
  readonly #digest: Digest;
  readonly #saved: Buffer;
  #hasher: ContentHasher;
  /** Bytes before those that the hasher sees; whole leaves. */
  #unhashed = 0;
  #readable = { start: 0, end: 0 };
  #parkedLeaves: number;

  private constructor({ pending, spool, digest, saved }: Parts) {
    this.#pending = pending;
    this.#spool = spool;
    this.#digest = digest;
    this.#saved = saved;
    this.#parkedLeaves = saved.length / HASH_BYTES;
    this.#hasher = this.#newHasher();
  }

  /** @throws BlobStoreError */
  static async begin(digest: Digest, { blobs, spools }: Modules): Promise<IngestBytes> {
    const pending = await blobs.begin();
    try {
      const spool = pending.readBeside ? undefined : await spools.create(pending.id, 0);
      return new IngestBytes({ pending, spool, digest, saved: Buffer.alloc(0) });
    } catch (err) {
      await pending.discard();
      throw err;
    }
  }

  /**
   * Goes on with what was parked; undefined when that is not there any more. `saved`: its leaves.
   * @throws BlobStoreError
   */
  static async resume(
    digest: Digest,
    parked: { state: string; saved: Buffer },
    { blobs, spools }: Modules,
  ): Promise<IngestBytes | undefined> {
    const pending = await blobs.resume(parked.state);
    if (pending === undefined) return undefined;
    const { saved } = parked;
    if (pending.size % LEAF_BYTES !== 0 || saved.length !== leavesIn(pending.size) * HASH_BYTES) {
      await pending.discard();
      return undefined;
    }
    const spool = await spoolOf(pending, spools).catch(async (err: unknown) => {
      await pending.release();
      throw err;
    });
    const bytes = new IngestBytes({ pending, spool, digest, saved });
    if (spool !== undefined && spool.base > 0) {
      bytes.#unhashed = pending.size;
      bytes.#readable = { start: pending.size, end: pending.size };
    }
    return bytes;
  }

  get id(): string {
    return this.#pending.id;
  }

  /** Bytes stored. */
  get size(): number {
    return this.#pending.size;
  }

  /** What of them may be read now. */
  get readable(): { start: number; end: number } {
    return this.#readable;
  }

  /**
   * Makes what was parked readable, a leaf after the other. @throws CodedError PARKED_WRONG when
   * it is not what was parked; BlobStoreError
   */
  async recheck({ signal, onBytes }: { signal: AbortSignal; onBytes: () => void }): Promise<void> {
    const buffer = Buffer.allocUnsafe(LEAF_BYTES);
    try {
      while (this.#readable.end < this.size) {
        signal.throwIfAborted();
        const at = this.#readable.end;
        const got = await this.#read(buffer, at);
        this.#hasher.update(buffer.subarray(0, got));
        const leaf = this.#hasher.leavesFrom(at / LEAF_BYTES);
        const wanted = this.#saved.subarray((at / LEAF_BYTES) * HASH_BYTES).subarray(0, HASH_BYTES);
        if (got < LEAF_BYTES || !leaf.equals(wanted)) throw parkedWrong();
        this.#readable = { start: 0, end: at + got };
        onBytes();
      }
    } finally {
      freeBytes(buffer);
    }
  }

  /** Takes the next bytes, and the memory of the slices. @throws BlobStoreError */
  async append(slices: readonly Buffer[]): Promise<void> {
    await this.#spool?.append(slices);
    await this.#pending.append(slices);
    for (const slice of slices) {
      this.#hasher.update(slice);
      freeBytes(slice);
    }
    this.#readable = { start: this.#readable.start, end: this.size };
  }

  /** Hashes of complete leaves from leaf `first` on. */
  leavesFrom(first: number): Buffer {
    const before = this.#unhashed / LEAF_BYTES;
    const known = this.#saved.subarray(first * HASH_BYTES, before * HASH_BYTES);
    return Buffer.concat([known, this.#hasher.leavesFrom(Math.max(0, first - before))]);
  }

  /**
   * Reads what is readable. @throws BlobStoreError; PENDING_CLOSED, or an error of the file
   * system, after the end
   */
  read(into: Uint8Array, position: number): Promise<number> {
    return this.#read(into, position);
  }

  /** Puts all bytes, which are whole leaves, where another process can go on. */
  async park(): Promise<{ state: string; size: number; leaves?: SavedLeaves }> {
    const state = await this.#pending.park();
    const first = this.#parkedLeaves;
    const hashes = this.leavesFrom(first);
    this.#parkedLeaves += hashes.length / HASH_BYTES;
    const leaves = hashes.length === 0 ? {} : { leaves: { first, hashes } };
    return { state, size: this.size, ...leaves };
  }

  /**
   * What the whole blob is; 'wrong' when its bytes have another digest. `onBytes` is called as it
   * goes on where all of it has to be read back.
   * @throws CodedError PARKED_WRONG; BlobStoreError
   */
  async check({ onBytes }: { onBytes: () => void }): Promise<FinishedUpload | 'wrong'> {
    if (this.#unhashed > 0) await this.#hashWhole(onBytes);
    const found = this.#hasher.finish();
    if (found.digests[digestAlgorithm(this.#digest)] !== this.#digest) return 'wrong';
    const layout = layoutOf(found.size);
    const hashes =
      layout.chunkCount === 0 ? Buffer.alloc(0) : chunkHashesFromLeaves(found.leaves, layout);
    return { digest: this.#digest, size: found.size, root: found.root, hashes };
  }

  /** Stores the blob, which was checked, durably. @throws BlobStoreError */
  async commit(): Promise<void> {
    await this.#pending.commit(this.#digest);
    await this.#spool?.close({ keep: false });
  }

  async discard(): Promise<void> {
    await this.#pending.discard();
    await this.#spool?.close({ keep: false });
  }

  /** Leaves it to whoever goes on with what was parked last. */
  async release(): Promise<void> {
    await this.#pending.release();
    await this.#spool?.close({ keep: true });
  }

  #newHasher(): ContentHasher {
    return new ContentHasher({ algorithms: [digestAlgorithm(this.#digest)] });
  }

  #read(into: Uint8Array, position: number): Promise<number> {
    const part = into.subarray(0, Math.max(0, this.size - position));
    if (this.#spool !== undefined) return this.#spool.read(part, position);
    if (this.#pending.readBeside !== undefined) return this.#pending.readBeside(part, position);
    return Promise.resolve(0);
  }

  async #hashWhole(onBytes: () => void): Promise<void> {
    const saved = this.leavesFrom(0);
    const hasher = this.#newHasher();
    const buffer = Buffer.allocUnsafe(READ_BACK_BYTES);
    try {
      for (let at = 0; at < this.size;) {
        const got = await this.#pending.read(buffer, at);
        if (got === 0) break;
        hasher.update(buffer.subarray(0, got));
        at += got;
        onBytes();
      }
    } finally {
      freeBytes(buffer);
    }
    const isWhole = hasher.size === this.size;
    if (!isWhole || !hasher.leavesFrom(0).equals(saved)) throw parkedWrong();
    this.#hasher = hasher;
    this.#unhashed = 0;
  }
}

/** Where readers find what was appended, when the store cannot tell them. */
async function spoolOf(pending: PendingBlob, spools: SpoolFolder): Promise<Spool | undefined> {
  if (pending.readBeside !== undefined) return undefined;
  const { id, size } = pending;
  return (await spools.reopen(id, size)) ?? (await spools.create(id, size));
}

function leavesIn(size: number): number {
  return Math.floor(size / LEAF_BYTES);
}

function parkedWrong(): Error {
  return new CodedError('what was parked of the blob is not there any more as it was', {
    code: 'PARKED_WRONG',
  });
}
