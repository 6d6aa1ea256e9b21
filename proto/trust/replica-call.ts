import { createHash, sign, verify, type KeyObject } from 'node:crypto';
import { TrustError } from './errors.ts';
import type { SigningKey } from './keys.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

/** One run of a hub among those that share a catalog: its name, and when it came in. */
export type Incarnation = {
  /** Letters, digits, `.`, `_` and `-`. */
  id: string;
  /** Epoch at which it joined; another run of the same hub has a later one. */
  joined: number;
};

/** What a hub signs when it asks another one. */
export type ReplicaCall = {
  method: string;
  path: string;
  from: Incarnation;
  to: Incarnation;
  /** Different in every call of `from`. */
  sequence: number;
  /** SHA-256 of the body, in hex. */
  bodyHash: string;
};

/** Longest header value in characters. */
export const REPLICA_CALL_MAX_CHARS = 512;
/** Longest name of a hub among its replicas, in characters. */
export const REPLICA_ID_MAX_CHARS = 64;

const TAG = 'flotilla/replica-call/v1\0';
const WHO = String.raw`([\w.-]{1,${REPLICA_ID_MAX_CHARS}})@(\d{1,16})`;
const PATTERN = new RegExp(
  `^FlotillaReplica key="([0-9a-f]{16})",from="${WHO}",to="${WHO}",sequence="(\\d{1,16})",` +
    'time="(\\d{1,16})",body="([0-9a-f]{64})",signature="([A-Za-z0-9_-]{86})"$',
);

/** Hex SHA-256, as a call names its body. */
export function bodyHashOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

/** Whether a hub may go by this name among its replicas. */
export function isReplicaId(text: string): boolean {
  return new RegExp(String.raw`^[\w.-]{1,${REPLICA_ID_MAX_CHARS}}$`).test(text);
}

function whoText({ id, joined }: Incarnation): string {
  return `${id}@${joined}`;
}

function signedBytes(call: ReplicaCall, timeMs: number): Buffer {
  const { method, path, from, to, sequence, bodyHash } = call;
  const lines = [method, path, whoText(from), whoText(to), sequence, timeMs, bodyHash];
  return Buffer.from(`${TAG}${lines.join('\n')}`, 'utf8');
}

/**
 * Authorization header of a call from one hub to another:
 * `FlotillaReplica key="..",from="id@joined",to="id@joined",sequence="..",time="..",body="..",
 * signature=".."`. `nowMs` is milliseconds since 1970.
 */
export function signReplicaCall(call: ReplicaCall, key: SigningKey, nowMs: number): string {
  const signature = sign(null, signedBytes(call, nowMs), key.privateKey).toString('base64url');
  const fields = [
    ['key', key.keyId.toString('hex')],
    ['from', whoText(call.from)],
    ['to', whoText(call.to)],
    ['sequence', call.sequence],
    ['time', nowMs],
    ['body', call.bodyHash],
    ['signature', signature],
  ];
  return `FlotillaReplica ${fields.map(([name, value]) => `${name}="${value}"`).join()}`;
}

export type ReplicaCallKeys = (
  keyId: string,
) => { publicKey: KeyObject; retiredMs?: number } | undefined;

/**
 * What a hub of the fleet asks, before its body is there: compare that with `bodyHash`. Whether
 * the call came before is for the caller to see by `from` and `sequence`, and whether it is for
 * this hub, by `to`.
 * @throws TrustError MALFORMED, UNKNOWN_KEY, BAD_SIGNATURE, and EXPIRED or NOT_YET_VALID when the
 *   clocks differ by more than CLOCK_SKEW_MS
 */
export function verifyReplicaCall(
  header: string | undefined,
  target: { method: string; path: string },
  modules: { keys: ReplicaCallKeys; nowMs: number },
): ReplicaCall {
  const short = header !== undefined && header.length <= REPLICA_CALL_MAX_CHARS;
  const match = short ? PATTERN.exec(header) : null;
  if (match === null) {
    throw new TrustError('no call of another hub', { code: 'MALFORMED' });
  }
  const [, keyId = '', fromId = '', fromJoined, toId = '', toJoined] = match;
  const [sequence, time, bodyHash = '', signature = ''] = match.slice(6);
  const key = modules.keys(keyId);
  if (key === undefined) {
    throw new TrustError(`key ${keyId} signs no calls of this fleet`, { code: 'UNKNOWN_KEY' });
  }
  const call = {
    ...target,
    from: { id: fromId, joined: Number(fromJoined) },
    to: { id: toId, joined: Number(toJoined) },
    sequence: Number(sequence),
    bodyHash,
  };
  const timeMs = Number(time);
  const bytes = Buffer.from(signature, 'base64url');
  const isOneText =
    bytes.toString('base64url') === signature &&
    whoText(call.from) === `${fromId}@${fromJoined}` &&
    whoText(call.to) === `${toId}@${toJoined}` &&
    String(call.sequence) === sequence &&
    String(timeMs) === time;
  if (!isOneText || !verify(null, signedBytes(call, timeMs), key.publicKey, bytes)) {
    throw new TrustError('the signature of the call does not match', { code: 'BAD_SIGNATURE' });
  }
  checkAge(timeMs, modules.nowMs, key.retiredMs);
  return call;
}

/** A key that was replaced signs for as long as clocks may differ, not for ever. */
function checkAge(timeMs: number, nowMs: number, retiredMs: number | undefined): void {
  const lateMs = nowMs - timeMs;
  if (Math.abs(lateMs) > CLOCK_SKEW_MS) {
    throw new TrustError(`the call is ${lateMs} ms old by our clock; compare both clocks`, {
      code: lateMs > 0 ? 'EXPIRED' : 'NOT_YET_VALID',
    });
  }
  if (retiredMs !== undefined && timeMs > retiredMs + CLOCK_SKEW_MS) {
    throw new TrustError('the call is signed with a key that was replaced', { code: 'EXPIRED' });
  }
}
