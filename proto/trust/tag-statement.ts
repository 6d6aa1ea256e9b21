import { create, toBinary } from '@bufbuild/protobuf';
import { isDigest, type Digest } from '../oci/digest.ts';
import { parseRepository, parseTag } from '../oci/name.ts';
import { decodeDigest, encodeDigest } from './digest-bytes.ts';
import { decodeMessage, safeNumber, seal, unseal, type EnvelopeKind } from './envelope.ts';
import { TrustError } from './errors.ts';
import type { SigningKey } from './keys.ts';
import { TagPayloadSchema } from './messages_pb.ts';
import type { TrustStore } from './trust-store.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

/** Largest encoded tag statement in bytes. */
export const TAG_STATEMENT_MAX_BYTES = 2048;

const KIND: EnvelopeKind = {
  tag: 'flotilla/tag-statement/v1\0',
  purpose: 'tag',
  maxBytes: TAG_STATEMENT_MAX_BYTES,
};
const NAME_MAX_CHARS = 255;

/** What a tag statement is about. */
export type TagName = {
  /** HUB_NAMESPACE or the host of an upstream. */
  namespace: string;
  repository: string;
  tag: string;
};

/**
 * The hub's word that a tag named this manifest at `timeMs`. Anybody may pass it on; how old it may
 * be is for its reader to say.
 */
export type TagStatement = TagName & { fleetId: string; digest: Digest; timeMs: number };

function isName(text: string): boolean {
  return text.length > 0 && text.length <= NAME_MAX_CHARS;
}

function accepts(parse: (text: string) => unknown, text: string): boolean {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
}

function problemOf(statement: TagStatement): string | undefined {
  const { fleetId, namespace, repository, tag, digest, timeMs } = statement;
  if (!isName(fleetId) || !isName(namespace)) return 'name';
  if (!accepts(parseRepository, repository)) return 'repository';
  if (!accepts(parseTag, tag)) return 'tag';
  if (!isDigest(digest)) return 'digest';
  return Number.isSafeInteger(timeMs) && timeMs >= 0 ? undefined : 'time';
}

function checkFields(statement: TagStatement): void {
  const problem = problemOf(statement);
  if (problem !== undefined) {
    throw new TrustError(`tag statement with invalid ${problem}`, { code: 'MALFORMED' });
  }
}

/** Signs a tag statement. Throws TrustError MALFORMED for invalid fields, WRONG_PURPOSE. */
export function signTagStatement(
  statement: TagStatement,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  checkFields(statement);
  const payload = create(TagPayloadSchema, {
    ...statement,
    digest: encodeDigest(statement.digest),
    timeMs: BigInt(statement.timeMs),
  });
  return seal(KIND, toBinary(TagPayloadSchema, payload), key);
}

/**
 * Reads a tag statement and checks signature, fleet, and that it is not of the future. Its age is
 * not checked.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE,
 *   WRONG_FLEET, NOT_YET_VALID
 */
export function verifyTagStatement(
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
  options: { nowMs: number; fleetId: string },
): TagStatement {
  const payload = decodeMessage(TagPayloadSchema, unseal(KIND, bytes, trust));
  const { fleetId, namespace, repository, tag } = payload;
  const digest = decodeDigest(payload.digest);
  if (digest === undefined) {
    throw new TrustError('tag statement with invalid digest', { code: 'MALFORMED' });
  }
  const timeMs = safeNumber(payload.timeMs, 'tag time');
  const statement: TagStatement = { fleetId, namespace, repository, tag, digest, timeMs };
  checkFields(statement);
  if (fleetId !== options.fleetId) {
    throw new TrustError(`tag statement of fleet ${fleetId}, not ${options.fleetId}`, {
      code: 'WRONG_FLEET',
    });
  }
  if (timeMs > options.nowMs + CLOCK_SKEW_MS) {
    const ahead = timeMs - options.nowMs;
    throw new TrustError(`tag statement is ${ahead} ms ahead of our clock; check both clocks`, {
      code: 'NOT_YET_VALID',
    });
  }
  return statement;
}
