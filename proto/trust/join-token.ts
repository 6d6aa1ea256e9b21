import { createHash, randomBytes } from 'node:crypto';
import { TrustError } from './errors.ts';

/** What a person hands to a new agent: proof of invitation, and whom to believe. */
export type JoinToken = {
  /** Names the token in logs and in the hub's catalog. */
  tokenId: string;
  /** Known to the holder only; the hub keeps its hash. */
  secret: string;
  /** Hex SHA-256 of the fleet's raw root public key. */
  rootFingerprint: string;
};

/** Longest join token in characters. */
export const JOIN_TOKEN_MAX_CHARS = 256;

const PATTERN =
  /^flotilla-join\.v1\.([A-Za-z0-9_-]{8,32})\.([A-Za-z0-9_-]{32,86})\.([0-9a-f]{64})$/;
const ID_BYTES = 9;
const SECRET_BYTES = 32;

/** A fresh token for a fleet. */
export function newJoinToken(rootFingerprint: string): JoinToken {
  return {
    tokenId: randomBytes(ID_BYTES).toString('base64url'),
    secret: randomBytes(SECRET_BYTES).toString('base64url'),
    rootFingerprint,
  };
}

/** Text form: `flotilla-join.v1.<id>.<secret>.<fingerprint>`. Throws TrustError MALFORMED. */
export function formatJoinToken(token: JoinToken): string {
  const text = `flotilla-join.v1.${token.tokenId}.${token.secret}.${token.rootFingerprint}`;
  parseJoinToken(text);
  return text;
}

/** Reads a join token. Throws TrustError MALFORMED; the message never repeats the text. */
export function parseJoinToken(text: string): JoinToken {
  const match = text.length <= JOIN_TOKEN_MAX_CHARS ? PATTERN.exec(text) : null;
  const [, tokenId, secret, rootFingerprint] = match ?? [];
  if (tokenId === undefined || secret === undefined || rootFingerprint === undefined) {
    throw new TrustError('not a join token; it begins with "flotilla-join.v1."', {
      code: 'MALFORMED',
    });
  }
  return { tokenId, secret, rootFingerprint };
}

/** What the hub stores instead of the secret: its SHA-256 (the secret has 256 random bits). */
export function joinSecretHash(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
