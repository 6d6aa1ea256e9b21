import { createCipheriv, createHash } from 'node:crypto';
import { tarHeader } from '../../bench/demo/generated-image.ts';
import { digestFromBytes, digestOf, type Digest } from '../../proto/oci/digest.ts';

const PIECE_BYTES = 256 * 1024;
const CIPHER_BLOCK = 16;
const TAR_BLOCK = 512;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** Bytes `[start, end)` of a blob, made anew at each read. */
export type Blob = {
  digest: Digest;
  size: number;
  read: (start: number, end: number) => Iterable<Buffer>;
};

export function blobOf(bytes: Buffer): Blob {
  const read = (start: number, end: number): Buffer[] => [bytes.subarray(start, end)];
  return { digest: digestOf(bytes), size: bytes.length, read };
}

/**
 * A layer: a tar with one file of `fileBytes` incompressible bytes. It follows from the seed alone,
 * is readable from any offset and needs no room on disk or in memory.
 */
export function seededLayer(seed: string, fileBytes: number): Blob {
  const key = createHash('sha256').update(seed).digest();
  const name = `data/${key.toString('hex', 0, 8)}.bin`;
  const header = tarHeader(name, fileBytes);
  const fill = (TAR_BLOCK - (fileBytes % TAR_BLOCK)) % TAR_BLOCK;
  const size = TAR_BLOCK + fileBytes + fill + 2 * TAR_BLOCK;
  const tail = Buffer.alloc(size - TAR_BLOCK - fileBytes);
  const parts = [
    { size: header.length, read: blobOf(header).read },
    { size: fileBytes, read: (start: number, end: number) => keystream(key, start, end) },
    { size: tail.length, read: blobOf(tail).read },
  ];
  const read = (start: number, end: number): Iterable<Buffer> => joined(parts, start, end);
  const hash = createHash('sha256');
  for (const piece of read(0, size)) hash.update(piece);
  return { digest: digestFromBytes('sha256', hash.digest()), size, read };
}

type Part = { size: number; read: Blob['read'] };

function* joined(parts: readonly Part[], start: number, end: number): Generator<Buffer> {
  let at = 0;
  for (const { size, read } of parts) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, size);
    if (from < to) yield* read(from, to);
    at += size;
  }
}

function* keystream(key: Buffer, start: number, end: number): Generator<Buffer> {
  const counter = Buffer.alloc(CIPHER_BLOCK);
  counter.writeBigUInt64BE(BigInt(Math.floor(start / CIPHER_BLOCK)), CIPHER_BLOCK / 2);
  const cipher = createCipheriv('aes-256-ctr', key, counter);
  cipher.update(ZEROS.subarray(0, start % CIPHER_BLOCK));
  for (let at = start; at < end; at += PIECE_BYTES) {
    yield cipher.update(ZEROS.subarray(0, Math.min(PIECE_BYTES, end - at)));
  }
}
