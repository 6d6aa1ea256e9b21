import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { HAVE_WAIT_MAX_MS } from '../../proto/swarm/constants.ts';
import type { SwarmRequest } from '../../proto/swarm/request.ts';
import type { SwarmResponse, SwarmStatus } from '../../proto/swarm/response.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { verifyGrant, type GrantBundle } from '../../proto/trust/grant.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import type { BanReason } from '../fetch/ports.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import { HAVE_SETTLE_MS, PEER_EXCHANGE_MAX } from './constants.ts';
import type { ContentReader, ServableBlob } from './content-reader.ts';
import type { GrantTable } from './grant-table.ts';

/** Who asks. */
export type Asker = { readonly peerId: string; readonly member: Membership };

/** Bytes that follow an answer; a small blob is read when it is its turn to be sent. */
export type Body =
  | { kind: 'bytes'; bytes: Buffer }
  | { kind: 'small'; digest: Digest }
  | { kind: 'chunk'; blob: ServableBlob; start: number; end: number };

export type Reply = { answer: Omit<SwarmResponse, 'id' | 'bodyBytes'>; body?: Body };

/** What the hub signed for everybody, and others may learn from this node. */
export interface Relay {
  publicGrant(namespace: string, repository: string, digest: Digest): GrantBundle | undefined;
  /** The newest tag statement held, and what it names. */
  tagStatement(name: TagName): { bytes: Buffer; digest: Digest } | undefined;
}

export type HandlerModules = {
  content: ContentReader;
  grants: GrantTable;
  relay: Relay;
  members: Pick<MemberDirectory, 'list' | 'get'>;
  trust: TrustStore;
  fleetId: () => string;
  graceMs: () => number;
  now: () => number;
  ban: (peerId: string, reason: BanReason, detail: object) => void;
  logger: Logger;
};

const NO_GRANT: Reply = { answer: { status: 'noGrant' } };
const NOT_FOUND: Reply = { answer: { status: 'notFound' } };
const BAD_REQUEST: Reply = { answer: { status: 'badRequest' } };

/**
 * What this node answers to one request. Whatever is asked about a digest, the grant is looked at
 * first, so that the refusal says nothing about what is held here.
 */
export async function replyTo(
  request: SwarmRequest,
  asker: Asker,
  modules: HandlerModules,
  signal: AbortSignal,
): Promise<Reply> {
  switch (request.kind) {
    case 'openGrant':
      return openGrant(request.bundle, asker, modules);
    case 'getGrant':
      return relayGrant(request, modules);
    case 'getPeers':
      return peers(request.limit, asker, modules);
    case 'getTag':
      return relayTag(request, modules);
    case 'unknown':
      return BAD_REQUEST;
    default:
      break;
  }
  const { digest } = request;
  if (!modules.grants.reaches(asker.peerId, digest)) return NO_GRANT;
  if (request.kind === 'getBlob') return ok({ kind: 'small', digest });
  const session = 'session' in request ? request.session : undefined;
  const blob = modules.content.find(digest, session);
  if (!blob) return NOT_FOUND;
  switch (request.kind) {
    case 'getStatement':
      return ok({ kind: 'bytes', bytes: blob.statement });
    case 'getHashes':
      return ok({ kind: 'bytes', bytes: blob.hashes });
    case 'getChunk': {
      if (request.index >= blob.chunkCount) return BAD_REQUEST;
      if (!blob.have.has(request.index)) return NOT_FOUND;
      return ok({ kind: 'chunk', blob, ...blob.chunkRange(request.index) });
    }
    default:
      break;
  }
  const waitMs = Math.min(request.waitMs, HAVE_WAIT_MAX_MS);
  if (blob.have.count === request.knownCount && waitMs > 0) {
    await changeOf(blob, waitMs, signal);
    // The grant may have run out, or the blob may be gone, while the question waited.
    if (!modules.grants.reaches(asker.peerId, digest)) return NO_GRANT;
    if (!modules.content.find(digest, session)) return NOT_FOUND;
  }
  return availability(blob);
}

/** The status of a chunk that was there when it was asked for, and could not be read then. */
export function unreadable(err: unknown, logger: Logger): SwarmStatus {
  if (hasCode(err, 'EVICTED', 'NOT_VERIFIED')) return 'notFound';
  logger.warn({ reason: messageOf(err) }, 'reading a chunk for a peer failed');
  return 'internal';
}

function ok(body: Body): Reply {
  return { answer: { status: 'ok' }, body };
}

function availability(blob: ServableBlob): Reply {
  const { size, chunkCount, have: bitmap } = blob;
  const result = { size, chunkCount, bitmap, complete: bitmap.complete };
  return { answer: { status: 'ok', result: { kind: 'availability', availability: result } } };
}

/** Takes in a grant that a peer presents. */
export function openGrant(bundle: GrantBundle, asker: Asker, modules: HandlerModules): Reply {
  try {
    modules.grants.open(asker.peerId, bundle);
    return { answer: { status: 'ok' } };
  } catch (err) {
    modules.logger.debug(
      { node: asker.member.node, peerId: asker.peerId, reason: messageOf(err) },
      'grant of a peer refused',
    );
    if (modules.grants.refused(asker.peerId)) {
      modules.ban(asker.peerId, 'grant-invalid', { reason: messageOf(err) });
    }
    return NO_GRANT;
  }
}

function relayGrant(
  request: Extract<SwarmRequest, { kind: 'getGrant' }>,
  modules: HandlerModules,
): Reply {
  const { namespace, repository, digest } = request;
  const bundle = publicGrant({ namespace, repository }, digest, modules);
  if (!bundle) return NOT_FOUND;
  return { answer: { status: 'ok', result: { kind: 'grant', bundle } } };
}

/** Only for a name whose manifest is public now: a name alone may tell what is private. */
function relayTag(name: TagName, modules: HandlerModules): Reply {
  const statement = modules.relay.tagStatement(name);
  if (!statement || !publicGrant(name, statement.digest, modules)) return NOT_FOUND;
  return ok({ kind: 'bytes', bytes: statement.bytes });
}

function publicGrant(
  place: { namespace: string; repository: string },
  digest: Digest,
  modules: HandlerModules,
): GrantBundle | undefined {
  const bundle = modules.relay.publicGrant(place.namespace, place.repository, digest);
  if (!bundle) return undefined;
  try {
    // With no peer id only a public grant passes, whatever the relay handed out.
    verifyGrant(bundle.grant, bundle.digests, modules.trust, {
      nowMs: modules.now(),
      graceMs: modules.graceMs(),
      fleetId: modules.fleetId(),
      peerId: '',
    });
    return bundle;
  } catch {
    return undefined;
  }
}

function peers(limit: number, asker: Asker, modules: HandlerModules): Reply {
  const others = modules.members.list().filter((member) => member.peerId !== asker.peerId);
  const wanted = Math.min(limit, PEER_EXCHANGE_MAX, others.length);
  const memberships: Buffer[] = [];
  // A partial shuffle: members must not depend on their place in the list to be known.
  for (let at = 0; at < wanted; at++) {
    const from = at + Math.floor(Math.random() * (others.length - at));
    const chosen = others[from];
    if (!chosen) break;
    others[from] = others[at] ?? chosen;
    const record = modules.members.get(chosen.peerId);
    if (record) memberships.push(record.bytes);
  }
  return { answer: { status: 'ok', result: { kind: 'peers', memberships } } };
}

/** Resolves a moment after the blob gained or lost a chunk, or after `waitMs`. */
function changeOf(blob: ServableBlob, waitMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  const end = setTimeout(done, waitMs);
  let settle: NodeJS.Timeout | undefined;
  // A busy download changes many times a second; one answer tells of several chunks.
  const watch = blob.onChange(() => {
    settle ??= setTimeout(done, HAVE_SETTLE_MS);
  });
  signal.addEventListener('abort', done, { once: true });
  return promise.finally(() => {
    clearTimeout(end);
    clearTimeout(settle);
    signal.removeEventListener('abort', done);
    watch[Symbol.dispose]();
  });
}
