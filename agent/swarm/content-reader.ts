import { chunkRange } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { ContentStore, StoredBlob } from '../store/port.ts';

/** A chunked blob as the chunk server sees it. */
export interface ServableBlob {
  readonly size: number;
  readonly chunkCount: number;
  readonly have: ChunkBitmap;
  readonly complete: boolean;
  readonly statement: Buffer;
  readonly hashes: Buffer;
  /** Half-open byte range of a chunk. */
  chunkRange(index: number): { start: number; end: number };
  /** Fills `into` from `position`; rejects unless the bytes are verified. */
  read(into: Buffer, position: number): Promise<void>;
  /** Keeps the bytes from eviction until disposed. */
  retain(): Disposable;
  /** Called after the set of verified chunks changed. */
  onChange(listener: () => void): Disposable;
}

/** Everything the chunk server may read. Tests wrap it to play a peer that lies. */
export interface ContentReader {
  /**
   * A blob covered by a hub-signed statement, or with a session what of it was checked against
   * leaves of that session.
   */
  find(digest: Digest, session?: Buffer): ServableBlob | undefined;
  /** A blob or manifest of at most 4 MiB. */
  small(digest: Digest): Promise<Buffer | undefined>;
}

/** Shows the agent's content store to the chunk server. */
export function readerOf(
  store: Pick<ContentStore, 'find' | 'getSmall' | 'growing'>,
): ContentReader {
  return {
    find(digest, session) {
      if (session !== undefined) {
        const growing = store.growing(digest);
        return growing?.session.equals(session) === true ? new ShownBlob(growing) : undefined;
      }
      const blob = store.find(digest);
      return blob?.servable === true ? new ShownBlob(blob) : undefined;
    },
    small: (digest) => store.getSmall(digest),
  };
}

/** A class, because one is made for each request. */
class ShownBlob implements ServableBlob {
  readonly #blob: StoredBlob;

  constructor(blob: StoredBlob) {
    this.#blob = blob;
  }

  get size(): number {
    return this.#blob.size;
  }

  get chunkCount(): number {
    return this.#blob.layout.chunkCount;
  }

  get have(): ChunkBitmap {
    return this.#blob.have;
  }

  get complete(): boolean {
    return this.#blob.complete;
  }

  get statement(): Buffer {
    return this.#blob.statement;
  }

  get hashes(): Buffer {
    return this.#blob.hashes;
  }

  chunkRange(index: number): { start: number; end: number } {
    return chunkRange(this.#blob.layout, index);
  }

  read(into: Buffer, position: number): Promise<void> {
    return this.#blob.read(into, position);
  }

  retain(): Disposable {
    return this.#blob.retain();
  }

  onChange(listener: () => void): Disposable {
    return this.#blob.onChange(() => listener());
  }
}
