import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { layoutOf, UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { verifyBatch } from '../../proto/chunks/provisional.ts';
import type { ProvisionalBatch } from '../../proto/chunks/provisional.ts';
import { verifyChunkHashes, verifyStatement } from '../../proto/chunks/statement.ts';
import type { ChunkStatement } from '../../proto/chunks/statement.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { isOfUpstream } from '../../proto/oci/name.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import { askPeers } from './ask-peers.ts';
import { OPEN_TIMEOUT_MS } from './constants.ts';
import type { FetchMetrics } from './metrics.ts';
import type { CallOptions, HubSource, OpenRequest, PeerLink, Swarm } from './ports.ts';

/** What is known of a blob before its first byte. */
export type BlobFacts =
  /** A hub-signed root and the row of chunk hashes that recomputes to it. */
  | { kind: 'chunked'; size: number; statement: Buffer; hashes: Buffer }
  /** The hub still fetches it, and signs leaves as they come. */
  | { kind: 'provisional'; size: number; batch: ProvisionalBatch }
  /** At most 4 MiB. */
  | { kind: 'small'; size: number }
  /** Only its size, as the hub or upstream says. */
  | { kind: 'unstated'; size: number };

export type ChunkedFacts = Extract<BlobFacts, { kind: 'chunked' }>;

export type FactModules = {
  swarm: Swarm;
  trust: TrustStore;
  metrics: Pick<FetchMetrics, 'rejected'>;
};

type Row = (maxBytes: number) => Promise<Buffer | undefined>;

/** A hub-signed statement for exactly this digest. Throws TrustError, CodedError WRONG_DIGEST. */
function readStatement(
  bytes: Buffer,
  digest: Digest,
  { trust, metrics }: Pick<FactModules, 'trust' | 'metrics'>,
): ChunkStatement {
  try {
    const statement = verifyStatement(bytes, trust);
    if (statement.digest === digest) return statement;
    throw new CodedError('the statement is about another blob', { code: 'WRONG_DIGEST' });
  } catch (err) {
    metrics.rejected.inc({ reason: 'statement_invalid' });
    throw err;
  }
}

/**
 * A batch that the hub signed about exactly this blob. Throws TrustError, CodedError WRONG_DIGEST.
 */
export function readBatch(
  bytes: Buffer,
  blob: { digest: Digest; size?: number | undefined },
  { trust, metrics }: Pick<FactModules, 'trust' | 'metrics'>,
): ProvisionalBatch {
  try {
    const batch = verifyBatch(bytes, trust);
    const { digest, size = batch.size } = blob;
    if (batch.digest === digest && batch.size === size) return batch;
    throw new CodedError('the batch is about another blob', { code: 'WRONG_DIGEST' });
  } catch (err) {
    metrics.rejected.inc({ reason: 'statement_invalid' });
    throw err;
  }
}

async function chunkedFacts(
  statementBytes: Buffer,
  statement: ChunkStatement,
  row: Row,
  { metrics }: Pick<FactModules, 'metrics'>,
): Promise<ChunkedFacts | undefined> {
  const { size } = statement;
  const hashes = await row(layoutOf(size).chunkCount * HASH_BYTES);
  if (hashes === undefined) return undefined;
  try {
    verifyChunkHashes(hashes, statement);
  } catch (err) {
    metrics.rejected.inc({ reason: 'hashes_mismatch' });
    throw err;
  }
  return { kind: 'chunked', size, statement: statementBytes, hashes };
}

/**
 * What the hub or upstream says. 'absent': it answers that the blob is not there.
 * @throws what the source throws; TrustError for a statement or hashes that do not verify
 */
export async function factsFromSource(
  request: OpenRequest,
  source: HubSource,
  modules: FactModules,
  o: CallOptions,
): Promise<BlobFacts | 'absent'> {
  const { repository, digest } = request;
  const isUpstream = source.kind === 'hub' && isOfUpstream(repository);
  // Both are waited for below, unless something else comes or fails first.
  const asking = isUpstream ? undefined : source.head(repository, digest, o);
  asking?.catch(() => {});
  // With this question the hub begins to fetch what it does not have.
  const coming = isUpstream ? comingFacts(request, source, modules) : undefined;
  coming?.catch(() => {});
  const stated = await statedFacts(request, source, modules, o);
  if (stated !== undefined) return stated;
  // For the size alone the hub would have to ask its upstream.
  const first = coming && (await abortable(coming, o.signal));
  if (first !== undefined) return first;
  const head = await (asking ?? source.head(repository, digest, o));
  if (head !== undefined && head.size <= UNCHUNKED_MAX_BYTES) {
    return { kind: 'small', size: head.size };
  }
  const provisional = isUpstream ? undefined : await provisionalFacts(request, source, modules, o);
  if (provisional !== undefined) return provisional;
  return head === undefined ? 'absent' : { kind: 'unstated', size: head.size };
}

/**
 * What a source states of a chunked blob; undefined when it states nothing.
 * @throws what factsFromSource throws
 */
export async function statedFacts(
  { repository, digest }: OpenRequest,
  source: HubSource,
  modules: FactModules,
  o: CallOptions,
): Promise<ChunkedFacts | undefined> {
  const bytes = await source.statement(repository, digest, o);
  if (bytes === undefined) return undefined;
  const statement = readStatement(bytes, digest, modules);
  const row: Row = (maxBytes) => source.hashes(repository, digest, maxBytes, o);
  return chunkedFacts(bytes, statement, row, modules);
}

/**
 * The same of a blob that the source was fetching, or what peers pass on of it while the source
 * does not answer.
 * @throws what factsFromSource throws
 */
export async function statedByNow(
  request: OpenRequest,
  source: HubSource,
  modules: FactModules,
  o: CallOptions,
): Promise<ChunkedFacts | undefined> {
  using limit = deadline(OPEN_TIMEOUT_MS, o.signal);
  try {
    return await statedFacts(request, source, modules, { signal: limit.signal });
  } catch (err) {
    o.signal?.throwIfAborted();
    const facts = await factsFromPeers(request, modules, { signal: limit.signal });
    if (facts?.kind === 'chunked') return facts;
    throw err;
  }
}

/**
 * What provisionalFacts tells, to its end: when a statement makes it needless, its connection is
 * still good for the next question.
 */
async function comingFacts(
  request: OpenRequest,
  source: HubSource,
  modules: FactModules,
): Promise<BlobFacts | undefined> {
  using limit = deadline(OPEN_TIMEOUT_MS);
  return await provisionalFacts(request, source, modules, { signal: limit.signal });
}

/** What the hub says of a blob that it still fetches, or has just stored. */
async function provisionalFacts(
  request: OpenRequest,
  source: HubSource,
  modules: FactModules,
  o: CallOptions,
): Promise<BlobFacts | undefined> {
  const { repository, digest } = request;
  const bytes = await source.provisional?.(repository, digest, undefined, o);
  if (bytes === undefined) return undefined;
  const batch = readBatch(bytes, { digest }, modules);
  if (batch.state === 'stored') return statedFacts(request, source, modules, o);
  return batch.state === 'running' ? { kind: 'provisional', size: batch.size, batch } : undefined;
}

/**
 * What peers can prove: the hub's statement and the hashes, whoever passes them on. Peers that pass
 * on something that does not verify are banned. undefined: nobody has it, or there is no grant.
 * @throws the reason of the signal
 */
export async function factsFromPeers(
  request: OpenRequest,
  modules: FactModules,
  o: CallOptions,
): Promise<BlobFacts | undefined> {
  const { grant, digest } = request;
  if (grant === undefined) return undefined;
  const question = async (
    link: PeerLink,
    q: { signal: AbortSignal },
  ): Promise<BlobFacts | undefined> => {
    if (!(await link.openGrant(grant, q))) return undefined;
    const bytes = await link.statement(digest, q);
    if (bytes !== undefined) return provenBy(link, bytes, digest, modules, q);
    const small = await link.blob(digest, q);
    return small === undefined ? undefined : { kind: 'small', size: small.length };
  };
  return askPeers(modules.swarm, question, o);
}

async function provenBy(
  link: PeerLink,
  bytes: Buffer,
  digest: Digest,
  modules: FactModules,
  o: CallOptions,
): Promise<BlobFacts | undefined> {
  const ban = (reason: 'statement-invalid' | 'hashes-mismatch', err: unknown): undefined => {
    o.signal?.throwIfAborted();
    modules.swarm.ban(link.peerId, reason, { digest, node: link.node, err });
    return undefined;
  };
  let statement: ChunkStatement;
  try {
    statement = readStatement(bytes, digest, modules);
  } catch (err) {
    return isProof(err) ? ban('statement-invalid', err) : undefined;
  }
  const hashes = await link.hashes(digest, layoutOf(statement.size).chunkCount * HASH_BYTES, o);
  if (hashes === undefined) return undefined;
  try {
    return await chunkedFacts(bytes, statement, () => Promise.resolve(hashes), modules);
  } catch (err) {
    return ban('hashes-mismatch', err);
  }
}

const NO_PROOF = ['UNKNOWN_KEY', 'REVOKED_KEY'];

/** A key we do not know or no longer believe may be honest news to us; the rest is not. */
function isProof(err: unknown): boolean {
  return !hasCode(err, ...NO_PROOF);
}
