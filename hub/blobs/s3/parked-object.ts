import { parseState } from '../pending-state.ts';
import type { PendingState } from '../port.ts';

/** Where a blob in the making stands. */
export type ParkedObject = {
  id: string;
  key: string;
  /** Id of the upload in parts, once there is one. */
  upload: string | undefined;
  /** Parts that count; later ones were never told of. */
  parts: number;
  partsBytes: number;
  /** What fills no part. */
  tail: { key: string; size: number } | undefined;
};

const ID = /^[0-9a-f-]{36}$/;

/** Undefined for a state that this driver has not written. */
export function parseParked(state: PendingState): ParkedObject | undefined {
  const { id, key, upload, parts, partsBytes, tail } = parseState(state);
  if (typeof id !== 'string' || !ID.test(id) || typeof key !== 'string') return undefined;
  if (upload !== undefined && typeof upload !== 'string') return undefined;
  if (!isCount(parts) || !isCount(partsBytes)) return undefined;
  if (tail === undefined) return { id, key, upload, parts, partsBytes, tail };
  if (typeof tail !== 'object' || tail === null) return undefined;
  if (!('key' in tail) || !('size' in tail)) return undefined;
  if (typeof tail.key !== 'string' || !isCount(tail.size)) return undefined;
  return { id, key, upload, parts, partsBytes, tail: { key: tail.key, size: tail.size } };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
