import { BLOB_MAX_BYTES, layoutOf } from '../chunks/layout.ts';
import { ChunkBitmap } from './bitmap.ts';
import { BITMAP_MAX_BYTES } from './constants.ts';
import { badMessage } from './decode.ts';
import type { Availability, SwarmStatus } from './response.ts';

/** Bytes of the head of every answer on a lane. */
export const LANE_HEAD_BYTES = 16;
/** Bytes of a blob's size, which comes before the bitmap. */
const SIZE_BYTES = 8;
/** Largest body of an answer to Have on a lane. */
export const LANE_HAVE_MAX_BYTES = SIZE_BYTES + BITMAP_MAX_BYTES;

const STATUSES: readonly SwarmStatus[] = [
  'ok',
  'notFound',
  'noGrant',
  'busy',
  'badRequest',
  'internal',
];
const STATUS_AT = 4;
const LENGTH_AT = 8;

/** Head of an answer: request id u32, status u8, three zero bytes, body length u64; big endian. */
export type LaneHead = { id: number; status: SwarmStatus; bodyBytes: number };

/** Writes the head into `into`, of which the first LANE_HEAD_BYTES are used. */
export function writeLaneHead(head: LaneHead, into: Buffer): void {
  into.writeUInt32BE(head.id, 0);
  into.writeUInt32BE(STATUSES.indexOf(head.status) * 2 ** 24, STATUS_AT);
  into.writeBigUInt64BE(BigInt(head.bodyBytes), LENGTH_AT);
}

/** Reads a head. Throws SwarmError BAD_MESSAGE; the length is not compared with anything here. */
export function readLaneHead(bytes: Buffer): LaneHead {
  if (bytes.length < LANE_HEAD_BYTES) throw badMessage(`${bytes.length} bytes of a lane head`);
  const id = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(STATUS_AT);
  const status = STATUSES[code / 2 ** 24];
  if (status === undefined) throw badMessage(`lane status ${code}`);
  const length = bytes.readBigUInt64BE(LENGTH_AT);
  if (length > BigInt(BLOB_MAX_BYTES)) throw badMessage(`body length ${length}`);
  return { id, status, bodyBytes: Number(length) };
}

/** Body of an answer to Have: size of the blob u64, big endian, then the bitmap of its chunks. */
export function encodeLaneHave({ size, bitmap }: Pick<Availability, 'size' | 'bitmap'>): Buffer {
  const bytes = Buffer.alloc(SIZE_BYTES + Math.ceil(bitmap.size / 8));
  bytes.writeBigUInt64BE(BigInt(size));
  bitmap.copyBits(bytes.subarray(SIZE_BYTES));
  return bytes;
}

/** Reads such a body. Throws SwarmError BAD_MESSAGE or BAD_BITMAP. */
export function decodeLaneHave(bytes: Buffer): Availability {
  if (bytes.length < SIZE_BYTES) throw badMessage(`${bytes.length} bytes of availability`);
  const said = bytes.readBigUInt64BE();
  if (said > BigInt(BLOB_MAX_BYTES)) throw badMessage(`blob size ${said}`);
  const size = Number(said);
  const { chunkCount } = layoutOf(size);
  const bitmap = ChunkBitmap.fromBytes(bytes.subarray(SIZE_BYTES), chunkCount);
  return { size, chunkCount, bitmap, complete: bitmap.complete };
}
