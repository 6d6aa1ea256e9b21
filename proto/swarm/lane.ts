import { BLOB_MAX_BYTES } from '../chunks/layout.ts';
import { badMessage } from './decode.ts';
import type { SwarmStatus } from './response.ts';

/** Bytes of the head of every answer on a lane. */
export const LANE_HEAD_BYTES = 16;

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
