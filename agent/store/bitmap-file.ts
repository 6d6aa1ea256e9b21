import { hash } from 'node:crypto';
import { hasCode } from '../../proto/std/errors.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';

const MAGIC = Buffer.from('flotilla/blob-have/1\n', 'latin1');
const CHECKSUM_BYTES = 32;
const BOOT_ID_BYTES = 64;
const CLEAN_AT = MAGIC.length + CHECKSUM_BYTES + BOOT_ID_BYTES;

export type SavedBitmap = {
  /** Chunks written or checked during the kernel run `bootId`. */
  have: ChunkBitmap;
  bootId: string;
  /** The data of `have` was flushed before this was written. */
  clean: boolean;
  /** Chunks of earlier runs that were not checked again yet. */
  pending: ChunkBitmap;
};

/** Magic | SHA-256 of the rest | boot id, 64 bytes | clean u8 | bits had | bits pending. */
export function encodeBitmap(saved: SavedBitmap): Buffer {
  const boot = Buffer.alloc(BOOT_ID_BYTES);
  boot.write(saved.bootId, 'latin1');
  const flags = Buffer.of(saved.clean ? 1 : 0);
  const rest = Buffer.concat([boot, flags, saved.have.toBytes(), saved.pending.toBytes()]);
  return Buffer.concat([MAGIC, hash('sha256', rest, 'buffer'), rest]);
}

/** What encodeBitmap wrote; undefined for anything damaged or for another number of chunks. */
export function decodeBitmap(bytes: Buffer, chunkCount: number): SavedBitmap | undefined {
  if (bytes.length <= CLEAN_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const rest = bytes.subarray(MAGIC.length + CHECKSUM_BYTES);
  const checksum = bytes.subarray(MAGIC.length, MAGIC.length + CHECKSUM_BYTES);
  if (!hash('sha256', rest, 'buffer').equals(checksum)) return undefined;
  const bootId = rest.toString('latin1', 0, BOOT_ID_BYTES).replace(/\0+$/, '');
  const clean = rest[BOOT_ID_BYTES] === 1;
  try {
    const bits = rest.subarray(BOOT_ID_BYTES + 1);
    const half = bits.length / 2;
    const have = ChunkBitmap.fromBytes(bits.subarray(0, half), chunkCount);
    const pending = ChunkBitmap.fromBytes(bits.subarray(half), chunkCount);
    return { have, bootId, clean, pending };
  } catch (err) {
    if (hasCode(err, 'BAD_BITMAP')) return undefined;
    throw err;
  }
}
