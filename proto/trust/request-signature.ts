import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';
import { publicKeyFromPeerId } from './peer-id.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

/** The part of an HTTP request that an agent signs. */
export type SignedRequest = {
  method: string;
  /** Path with query, exactly as sent. */
  path: string;
  body: Uint8Array;
};

/** Longest header value in characters. */
export const REQUEST_SIGNATURE_MAX_CHARS = 256;

const TAG = 'flotilla/hub-request/v1\0';
const PEER = '[1-9A-HJ-NP-Za-km-z]{1,64}';
const PATTERN = new RegExp(
  `^Flotilla peer="(${PEER})",time="(\\d{1,16})",signature="([A-Za-z0-9_-]{86})"$`,
);

function signedBytes(request: SignedRequest, timeMs: number): Buffer {
  const bodyHash = createHash('sha256').update(request.body).digest('hex');
  return Buffer.from(`${TAG}${request.method}\n${request.path}\n${timeMs}\n${bodyHash}`, 'utf8');
}

/**
 * Authorization header of a request to the hub: `Flotilla peer="..",time="..",signature=".."`.
 * The time also orders the requests of a peer: give each one a later `nowMs` than the last.
 */
export function signRequest(
  request: SignedRequest & { nowMs: number },
  identity: { peerId: string; privateKey: KeyObject },
): string {
  const signature = sign(null, signedBytes(request, request.nowMs), identity.privateKey);
  const text = signature.toString('base64url');
  return `Flotilla peer="${identity.peerId}",time="${request.nowMs}",signature="${text}"`;
}

type Claim = { peerId: string; timeMs: number; time: string; signature: string };

function claimIn(header: string | undefined): Claim {
  const short = header !== undefined && header.length <= REQUEST_SIGNATURE_MAX_CHARS;
  const [, peerId, time, signature] = (short ? PATTERN.exec(header) : null) ?? [];
  if (peerId === undefined || time === undefined || signature === undefined) {
    throw new TrustError('no request signature in the Authorization header', { code: 'MALFORMED' });
  }
  return { peerId, timeMs: Number(time), time, signature };
}

function checkAge(timeMs: number, clock: { nowMs: number }): void {
  const lateMs = clock.nowMs - timeMs;
  if (Math.abs(lateMs) <= CLOCK_SKEW_MS) return;
  throw new TrustError(`request is ${lateMs} ms old by our clock; compare both clocks`, {
    code: lateMs > 0 ? 'EXPIRED' : 'NOT_YET_VALID',
  });
}

/**
 * Who a request says that it comes from, before its body is there. Proves nothing.
 * @throws TrustError MALFORMED, EXPIRED, NOT_YET_VALID
 */
export function claimedSigner(
  header: string | undefined,
  clock: { nowMs: number },
): { peerId: string } {
  const { peerId, timeMs } = claimIn(header);
  checkAge(timeMs, clock);
  return { peerId };
}

/**
 * Who signed the request, and when. Says nothing about membership.
 * @throws TrustError MALFORMED, BAD_SIGNATURE, and EXPIRED or NOT_YET_VALID when the clocks differ
 *   by more than CLOCK_SKEW_MS
 */
export function verifyRequest(
  header: string | undefined,
  request: SignedRequest,
  clock: { nowMs: number },
): { peerId: string; timeMs: number } {
  const { peerId, timeMs, time, signature } = claimIn(header);
  const key = publicKeyFromPeerId(peerId);
  const signatureBytes = Buffer.from(signature, 'base64url');
  const oneText = String(timeMs) === time && signatureBytes.toString('base64url') === signature;
  if (!oneText || !verify(null, signedBytes(request, timeMs), key, signatureBytes)) {
    throw new TrustError('request signature does not match', { code: 'BAD_SIGNATURE' });
  }
  checkAge(timeMs, clock);
  return { peerId, timeMs };
}
