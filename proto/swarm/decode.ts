import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { Digest } from '../oci/digest.ts';
import { decodeDigest } from '../trust/digest-bytes.ts';
import { SwarmError } from './errors.ts';

/** A SwarmError BAD_MESSAGE. */
export function badMessage(what: string, cause?: unknown): SwarmError {
  return new SwarmError(`bad message: ${what}`, { code: 'BAD_MESSAGE' }, { cause });
}

/** Decodes a protobuf message from a peer. Throws SwarmError BAD_MESSAGE. */
export function decodeWire<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw badMessage(`not a ${schema.name}`, cause);
  }
}

/** A digest field. Throws SwarmError BAD_MESSAGE. */
export function wireDigest(bytes: Uint8Array): Digest {
  const digest = decodeDigest(bytes);
  if (digest === undefined) throw badMessage('digest');
  return digest;
}

/** A list of digests of bounded length. Throws SwarmError BAD_MESSAGE. */
export function wireDigests(list: readonly Uint8Array[], max: number): Digest[] {
  if (list.length > max) throw badMessage(`${list.length} digests, at most ${max}`);
  return list.map(wireDigest);
}

/** Throws SwarmError BAD_MESSAGE unless low <= value <= high. */
export function inRange(value: number, low: number, high: number, what: string): number {
  if (!(value >= low && value <= high)) throw badMessage(`${what} ${value} not in ${low}..${high}`);
  return value;
}
