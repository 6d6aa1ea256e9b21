import { ChunkHasher } from '../../proto/chunks/chunk-hasher.ts';
import { chunkRange } from '../../proto/chunks/layout.ts';
import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { HASH_BYTES, chunkHash } from '../../proto/chunks/merkle.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import type { ChunkMemory } from './chunk-memory.ts';
import { HUB_CHUNK_TIMEOUT_MS } from './constants.ts';
import type { FetchMetrics } from './metrics.ts';
import type { ChunkFailure } from './planner-port.ts';
import type { ChunkBytes, ChunkTransport, HubSource } from './ports.ts';
import { ReceivedChunk } from './received-chunk.ts';

/** What chunks are checked against; `session` as long as that is no statement. */
export type ChunkProof = {
  digest: Digest;
  layout: ChunkLayout;
  hashes: Buffer;
  session?: (() => Buffer | undefined) | undefined;
};

/** The bytes of a source do not match the signed root: proof that the source is wrong. */
export class ChunkMismatch extends CodedError<{ code: 'CHUNK_MISMATCH'; index: number }> {}

/** Whether the bytes are exactly the chunk. */
export function isChunk(
  proof: ChunkProof,
  index: number,
  bytes: Buffer,
  /** What they hash to, if that is known. */
  hash?: Buffer,
): boolean {
  const { start, end } = chunkRange(proof.layout, index);
  const expected = proof.hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
  return bytes.length === end - start && (hash ?? chunkHash(bytes)).equals(expected);
}

/** How the planner takes a failed request. */
export function failureOf(err: unknown): ChunkFailure {
  if (hasCode(err, 'CHUNK_MISMATCH')) return 'mismatch';
  if (hasCode(err, 'NOT_FOUND')) return 'not-found';
  return hasCode(err, 'BUSY', 'NO_GRANT', 'QUEUE_FULL') ? 'busy' : 'failed';
}

/** What chunks may take of the link of this node; undefined: as fast as it goes. */
export type ChunkBudgets = { peersDown: RateBudget | undefined; source: RateBudget | undefined };

export type FetcherModules = {
  transport: ChunkTransport;
  source: HubSource | undefined;
  memory: ChunkMemory;
  budgets?: ChunkBudgets | undefined;
  metrics: FetchMetrics;
};

export type FetchCalls = {
  started: () => void;
  /** undefined: it is so already. */
  checkable?: Promise<void> | undefined;
  keep: (chunk: ReceivedChunk) => Promise<void>;
};

export type ChunkFrom = { kind: 'peer'; peerId: string } | { kind: 'source' };

/** Gets one chunk at a time from a peer, the hub or an upstream, and proves it. */
export class ChunkFetcher {
  readonly #proof: ChunkProof;
  readonly #repository: Repository;
  readonly #modules: FetcherModules;

  constructor(proof: ChunkProof, repository: Repository, modules: FetcherModules) {
    this.#proof = proof;
    this.#repository = repository;
    this.#modules = modules;
  }

  /**
   * Waits for the link and for memory, calls `started`, fetches, checks, and hands the chunk to
   * `keep`; the memory is free again when that has ended and nobody holds the chunk. `checkable`:
   * there is a hash to check the chunk against; only then its time counts.
   * @throws ChunkMismatch, what the source or `keep` throws, the reason of the signal
   */
  async fetch(
    from: ChunkFrom,
    index: number,
    calls: FetchCalls,
    signal: AbortSignal,
  ): Promise<void> {
    const { memory, metrics, budgets } = this.#modules;
    const { start, end } = chunkRange(this.#proof.layout, index);
    const budget = from.kind === 'peer' ? budgets?.peersDown : budgets?.source;
    await budget?.pass(end - start, { signal });
    using room = new DisposableStack();
    room.use(await memory.acquire(end - start, signal));
    metrics.chunksInFlight.inc();
    try {
      if (calls.checkable === undefined) calls.started();
      else calls.checkable.then(calls.started, () => {});
      // Somebody waits for it, and to hash all of it at the end takes time.
      const hasher = calls.checkable && new ChunkHasher();
      const bytes = await this.#ask(from, index, { start, end }, { signal, hasher });
      const chunk = new ReceivedChunk(bytes, room.move());
      using own = chunk.hold();
      void own;
      const hash = hasher?.size === chunk.bytes.length ? hasher.finish() : undefined;
      await calls.checkable;
      this.#check(from, index, chunk.bytes, hash);
      await calls.keep(chunk);
    } finally {
      metrics.chunksInFlight.dec();
    }
  }

  async #ask(
    from: ChunkFrom,
    index: number,
    range: { start: number; end: number },
    { signal, hasher }: { signal: AbortSignal; hasher: ChunkHasher | undefined },
  ): Promise<ChunkBytes> {
    const { transport, source, metrics } = this.#modules;
    const { digest } = this.#proof;
    const session = this.#proof.session?.();
    if (from.kind === 'peer') {
      const length = range.end - range.start;
      const request = { digest, index, length, session };
      const chunk = await inTime(transport.fetchChunk(from.peerId, request, { signal }), signal);
      metrics.bytes.inc({ source: 'peer' }, chunk.bytes.length);
      return chunk;
    }
    if (source === undefined) throw new CodedError('no hub for this blob', { code: 'NOT_FOUND' });
    using limit = deadline(HUB_CHUNK_TIMEOUT_MS, signal);
    const provisional = session !== undefined;
    const seen = hasher && ((piece: Buffer): void => hasher.update(piece));
    const o = { signal: limit.signal, provisional, seen };
    const fetched = source.chunk(this.#repository, digest, range, o);
    return await inTime(fetched, limit.signal);
  }

  #check(from: ChunkFrom, index: number, bytes: Buffer, hash: Buffer | undefined): void {
    const { metrics, source } = this.#modules;
    const label = from.kind === 'peer' ? 'peer' : (source?.kind ?? 'hub');
    if (isChunk(this.#proof, index, bytes, hash)) {
      metrics.verified.inc({ source: label });
      return;
    }
    metrics.rejected.inc({ reason: from.kind === 'peer' ? 'peer_mismatch' : 'hub_mismatch' });
    throw new ChunkMismatch(`chunk ${index} from the ${label} does not match the signed root`, {
      code: 'CHUNK_MISMATCH',
      index,
    });
  }
}

/** The memory must come back even from a source that is deaf to the signal. */
async function inTime(fetched: Promise<ChunkBytes>, signal: AbortSignal): Promise<ChunkBytes> {
  try {
    return await abortable(fetched, signal);
  } catch (err) {
    fetched.then(
      (late) => late[Symbol.dispose](),
      () => {},
    );
    throw err;
  }
}
