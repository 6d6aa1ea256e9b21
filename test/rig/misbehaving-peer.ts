import { chunkIndexAt, layoutOf } from '../../proto/chunks/layout.ts';
import { rootFromChunkHashes } from '../../proto/chunks/merkle.ts';
import { signStatement } from '../../proto/chunks/statement.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { KEY_ID_BYTES } from '../../proto/trust/keys.ts';
import type { ContentReader, ServableBlob } from '../../agent/swarm/content-reader.ts';

/** A statement ends in the id of its key and an Ed25519 signature. */
const SIGNATURE_BYTES = 64;

/**
 * How a peer of the tests fails the others. What it stores stays right; only what it sends lies.
 */
export type Misbehaviour = {
  /** Flips one bit in every chunk whose index is a multiple of this. */
  flipOneChunkIn?: number;
  /** Flips one bit in every small blob. */
  flipSmall?: boolean;
  /** Answers for a small blob, whatever was asked, with so many bytes. */
  smallBytes?: number;
  /** Signs its own statements, under the id of the hub's key. */
  forgeStatement?: boolean;
  /** Passes on hashes of chunks that do not lead to the root. */
  forgeHashes?: boolean;
  /** Sends this many slices of chunks, then never another one. */
  stallAfterReads?: number;
};

export type MisbehavingContent = ContentReader & {
  /** Chunks and small blobs sent with a wrong bit. */
  readonly flipped: number;
  /** Reads that never end. */
  readonly stalled: number;
};

/** The product's chunk server reads through this and so plays a peer that lies or stalls. */
export function misbehaving(content: ContentReader, how: Misbehaviour): MisbehavingContent {
  const { flipOneChunkIn = 0, flipSmall = false, smallBytes } = how;
  const { stallAfterReads = Number.POSITIVE_INFINITY } = how;
  const counts = { flipped: 0, stalled: 0, reads: 0 };

  const lie = (bytes: Buffer): void => {
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    counts.flipped++;
  };

  const read = async (blob: ServableBlob, into: Buffer, position: number): Promise<void> => {
    await blob.read(into, position);
    if (++counts.reads > stallAfterReads) {
      counts.stalled++;
      await new Promise<void>(() => {});
    }
    if (flipOneChunkIn === 0) return;
    const index = chunkIndexAt(layoutOf(blob.size), position);
    const isStart = blob.chunkRange(index).start === position;
    if (isStart && index % flipOneChunkIn === 0) lie(into);
  };

  return {
    get flipped() {
      return counts.flipped;
    },
    get stalled() {
      return counts.stalled;
    },
    find: (digest: Digest, session?: Buffer) => {
      const blob = content.find(digest, session);
      if (!blob) return undefined;
      return {
        size: blob.size,
        chunkCount: blob.chunkCount,
        have: blob.have,
        get complete() {
          return blob.complete;
        },
        statement: how.forgeStatement === true ? forgedStatement(digest, blob) : blob.statement,
        hashes: how.forgeHashes === true ? spoilt(blob.hashes) : blob.hashes,
        chunkRange: (index) => blob.chunkRange(index),
        read: (into, position) => read(blob, into, position),
        retain: () => blob.retain(),
        onChange: (listener) => blob.onChange(listener),
      };
    },
    small: async (digest: Digest) => {
      const bytes = await content.small(digest);
      if (!bytes) return undefined;
      if (smallBytes !== undefined) return Buffer.alloc(smallBytes, bytes);
      return flipSmall ? spoilt(bytes, counts) : bytes;
    },
  };
}

function spoilt(bytes: Buffer, counts?: { flipped: number }): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] ?? 0) ^ 1;
  if (counts) counts.flipped++;
  return copy;
}

/** Right in every field, but signed by a key that is not the hub's. */
function forgedStatement(digest: Digest, { size, statement, hashes }: ServableBlob): Buffer {
  const root = rootFromChunkHashes(hashes, layoutOf(size));
  const { privateKey, purpose } = KeyRing.create(Date.now()).signingKey('statement');
  const keyIdEnd = statement.length - SIGNATURE_BYTES;
  const keyId = statement.subarray(keyIdEnd - KEY_ID_BYTES, keyIdEnd);
  return signStatement({ digest, size, root }, { purpose, privateKey, keyId });
}
