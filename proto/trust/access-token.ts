import { verify, type KeyObject } from 'node:crypto';
import { parseStrictJson } from '../std/strict-json.ts';
import { TrustError, type TrustCode } from './errors.ts';

/** Longest token of the token service, characters. */
export const ACCESS_TOKEN_MAX_CHARS = 16_384;
/** The signature algorithm of the hub's tokens, the only one that is taken (RFC 8037). */
export const ACCESS_TOKEN_ALGORITHM = 'EdDSA';
export const ACCESS_TOKEN_ISSUER = 'flotilla';
/** The service tokens of the hub are for; tokens for another are not for this hub. */
export const ACCESS_TOKEN_SERVICE = 'flotilla';
/** Claim with the epoch of the subject. */
export const ACCESS_TOKEN_EPOCH_CLAIM = 'epoch';
/** Claim of a token lent to an agent: when its right was shown, in seconds since 1970. */
export const ACCESS_TOKEN_SHOWN_CLAIM = 'shown';

const TOKEN = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$/;
/** A header that names keys or rules of its own is not one of ours. */
const HEADER_FIELDS = new Set(['alg', 'kid', 'typ']);
const KEY_ID = /^[0-9a-f]{16}$/;

/** One resource of a token: `repository` or `registry`, its name, and what may be done. */
export type TokenResource = { type: string; name: string; actions: string[] };

/** What a token of the token service says. */
export type AccessToken = {
  keyId: string;
  /** Empty for nobody in particular. */
  subject: string;
  epoch: string;
  resources: TokenResource[];
  issuedAtMs: number;
  expiresAtMs: number;
  /** Only of a token lent to an agent: when somebody showed the right that is in it. */
  shownAtMs?: number;
};

/**
 * Reads a token that the hub signed for itself. `keyOf` gives the key of a key id, out of the own
 * keys; the algorithm is fixed, and a header with any other field is refused.
 * @throws TrustError MALFORMED, UNKNOWN_KEY, BAD_SIGNATURE, EXPIRED, NOT_YET_VALID, WRONG_AUDIENCE;
 * whatever `keyOf` throws
 */
export function verifyAccessToken(
  token: string,
  keyOf: (keyId: string) => KeyObject | undefined,
  { nowMs }: { nowMs: number },
): AccessToken {
  const match = token.length <= ACCESS_TOKEN_MAX_CHARS ? TOKEN.exec(token) : null;
  if (match === null) throw refusal('MALFORMED', 'no signed token');
  const [, head = '', body = '', tail = ''] = match;
  const keyId = keyIdOf(objectOf(head));
  const key = keyOf(keyId);
  if (key === undefined) throw refusal('UNKNOWN_KEY', `no key ${keyId} for tokens`);
  const signature = Buffer.from(tail, 'base64url');
  if (!verify(null, Buffer.from(`${head}.${body}`), key, signature)) {
    throw refusal('BAD_SIGNATURE', 'the signature of the token does not hold');
  }
  const claims = objectOf(body);
  if (claims.get('iss') !== ACCESS_TOKEN_ISSUER || claims.get('aud') !== ACCESS_TOKEN_SERVICE) {
    throw refusal('WRONG_AUDIENCE', 'the token is for another service');
  }
  const read = readClaims(keyId, claims);
  if (read.expiresAtMs <= nowMs) throw refusal('EXPIRED', 'the token has expired');
  return read;
}

function readClaims(keyId: string, claims: ReadonlyMap<string, unknown>): AccessToken {
  const [subject, epoch] = [claims.get('sub'), claims.get(ACCESS_TOKEN_EPOCH_CLAIM)];
  const [issued, expires] = [claims.get('iat'), claims.get('exp')];
  if (typeof subject !== 'string' || typeof epoch !== 'string') {
    throw refusal('MALFORMED', 'the token names no subject');
  }
  if (!Number.isSafeInteger(issued) || !Number.isSafeInteger(expires)) {
    throw refusal('MALFORMED', 'the token names no time');
  }
  const shown = claims.get(ACCESS_TOKEN_SHOWN_CLAIM);
  return {
    ...(Number.isSafeInteger(shown) ? { shownAtMs: Number(shown) * 1000 } : {}),
    keyId,
    subject,
    epoch,
    resources: resourcesOf(claims.get('access')),
    issuedAtMs: Number(issued) * 1000,
    expiresAtMs: Number(expires) * 1000,
  };
}

function keyIdOf(header: ReadonlyMap<string, unknown>): string {
  const strange = [...header.keys()].find((field) => !HEADER_FIELDS.has(field));
  if (strange !== undefined) throw refusal('MALFORMED', 'the header of the token is not ours');
  if (header.get('alg') !== ACCESS_TOKEN_ALGORITHM || header.get('typ') !== 'JWT') {
    throw refusal('MALFORMED', 'the token is of another kind');
  }
  const keyId = header.get('kid');
  if (typeof keyId === 'string' && KEY_ID.test(keyId)) return keyId;
  throw refusal('MALFORMED', 'the token names no key');
}

function resourcesOf(claim: unknown): TokenResource[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const fields = new Map<string, unknown>(Object.entries(entry));
    const [type, name, actions] = ['type', 'name', 'actions'].map((field) => fields.get(field));
    if (typeof type !== 'string' || typeof name !== 'string' || !Array.isArray(actions)) return [];
    return [{ type, name, actions: actions.filter((action) => typeof action === 'string') }];
  });
}

function objectOf(part: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = parseStrictJson(Buffer.from(part, 'base64url'));
  } catch (cause) {
    throw refusal('MALFORMED', 'the token is not JSON', cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return new Map(Object.entries(value));
  }
  throw refusal('MALFORMED', 'the token is not a JSON object');
}

function refusal(code: TrustCode, message: string, cause?: unknown): TrustError {
  return new TrustError(message, { code }, { cause });
}
