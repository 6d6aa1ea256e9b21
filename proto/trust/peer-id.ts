import type { KeyObject } from 'node:crypto';
import { decodeBase58, encodeBase58 } from './base58.ts';
import { TrustError } from './errors.ts';
import { PUBLIC_KEY_BYTES, publicKeyFromRaw } from './keys.ts';

/** Length of the text form of every Ed25519 peer id ("12D3KooW..."). */
export const PEER_ID_CHARS = 52;

// Identity multihash (0x00, 36 bytes) of libp2p's PublicKey message (field 1: Ed25519 = 1,
// field 2: 32 bytes), as the libp2p peer id specification has it for small keys.
const PREFIX = Buffer.from('002408011220', 'hex');

/** Peer id text of a raw Ed25519 public key. Throws TrustError MALFORMED on a wrong length. */
export function peerIdFromPublicKey(raw: Uint8Array): string {
  if (raw.length !== PUBLIC_KEY_BYTES) {
    throw new TrustError(`an Ed25519 public key has 32 bytes, not ${raw.length}`, {
      code: 'MALFORMED',
    });
  }
  return encodeBase58(Buffer.concat([PREFIX, raw]));
}

function rawKeyOf(peerId: string): Buffer | undefined {
  if (peerId.length !== PEER_ID_CHARS) return undefined;
  const bytes = decodeBase58(peerId);
  if (bytes?.length !== PREFIX.length + PUBLIC_KEY_BYTES) return undefined;
  if (!bytes.subarray(0, PREFIX.length).equals(PREFIX)) return undefined;
  return bytes.subarray(PREFIX.length);
}

/** True for the text of an Ed25519 peer id. */
export function isPeerId(text: string): boolean {
  return rawKeyOf(text) !== undefined;
}

/** The Ed25519 key inside a peer id. Throws TrustError MALFORMED for any other text. */
export function publicKeyFromPeerId(peerId: string): KeyObject {
  const raw = rawKeyOf(peerId);
  if (raw === undefined) {
    throw new TrustError('not an Ed25519 peer id', { code: 'MALFORMED' });
  }
  return publicKeyFromRaw(raw);
}
