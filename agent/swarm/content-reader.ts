import { chunkRange } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { ContentStore } from '../store/port.ts';

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
  /** A blob covered by a hub-signed statement. */
  find(digest: Digest): ServableBlob | undefined;
  /** A blob or manifest of at most 4 MiB. */
  small(digest: Digest): Promise<Buffer | undefined>;
}

/** Shows the agent's content store to the chunk server. */
export function readerOf(store: Pick<ContentStore, 'find' | 'getSmall'>): ContentReader {
  return {
    find(digest) {
      const blob = store.find(digest);
      if (!blob?.servable) return undefined;
      return {
        size: blob.size,
        chunkCount: blob.layout.chunkCount,
        have: blob.have,
        get complete() {
          return blob.complete;
        },
        statement: blob.statement,
        hashes: blob.hashes,
        chunkRange: (index) => chunkRange(blob.layout, index),
        read: (into, position) => blob.read(into, position),
        retain: () => blob.retain(),
        onChange: (listener) => blob.onChange(() => listener()),
      };
    },
    small: (digest) => store.getSmall(digest),
  };
}
