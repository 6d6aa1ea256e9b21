import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { chunkIndexAt, chunkRange } from '../../proto/chunks/layout.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { digestAlgorithm, digestBytes } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { ChunkFetcher } from './chunk-fetcher.ts';
import type { ChunkProof, FetcherModules } from './chunk-fetcher.ts';
import { DIRECT_ATTEMPTS_MAX, DIRECT_CHUNK_TIMEOUT_MS } from './constants.ts';
import { fetchError } from './errors.ts';
import type { CallOptions, HubSource } from './ports.ts';
import type { ReceivedChunk } from './received-chunk.ts';
import { checkRange } from './supply.ts';

/**
 * Streams a range chunk by chunk from the hub to one reader, each chunk proved, nothing stored: for
 * when the cache has no room. Whole chunks are fetched at both ends of the range.
 * @throws FetchError UNAVAILABLE when the hub fails DIRECT_ATTEMPTS_MAX times at one chunk
 */
export async function* readDirect(
  proof: ChunkProof,
  repository: Repository,
  range: { start: number; end: number },
  modules: FetcherModules & { logger: Logger },
  o: CallOptions,
): AsyncGenerator<Buffer, void, undefined> {
  checkRange(range, proof.layout.size);
  const fetcher = new ChunkFetcher(proof, repository, modules);
  for (let at = range.start; at < range.end;) {
    const index = chunkIndexAt(proof.layout, at);
    const chunk = chunkRange(proof.layout, index);
    const bytes = await fetchWithRetry(fetcher, index, proof.digest, modules.logger, o);
    const end = Math.min(chunk.end, range.end);
    yield bytes.subarray(at - chunk.start, end - chunk.start);
    at = end;
  }
}

async function fetchWithRetry(
  fetcher: ChunkFetcher,
  index: number,
  digest: string,
  logger: Logger,
  o: CallOptions,
): Promise<Buffer> {
  let lastError: unknown;
  using limit = deadline(DIRECT_CHUNK_TIMEOUT_MS, o.signal);
  for (let attempt = 0; attempt < DIRECT_ATTEMPTS_MAX; attempt += 1) {
    let kept: Buffer | undefined;
    const keep = (chunk: ReceivedChunk): Promise<void> => {
      kept = chunk.bytes;
      // The reader has it longer than the fetcher, so nobody gets the buffer again.
      chunk.hold().spoil();
      return Promise.resolve();
    };
    try {
      const calls = { started: () => {}, keep };
      await fetcher.fetch({ kind: 'source' }, index, calls, limit.signal);
      if (kept !== undefined) return kept;
    } catch (err) {
      o.signal?.throwIfAborted();
      if (limit.signal.aborted) break;
      lastError = err;
      logger.debug({ digest, chunk: index, reason: messageOf(err) }, 'chunk not received, again');
    }
  }
  throw fetchError('UNAVAILABLE', `chunk ${index} of ${digest} not received`, digest, lastError);
}

/**
 * Passes a range of a blob without statement on as one connection brings it, unverified: what the
 * runtime would get without us. Of a whole blob the last bytes are held back until the digest of
 * all is known to be right.
 * @throws FetchError NOT_FOUND, BROKEN, DIGEST_MISMATCH
 */
export async function* readUnstated(
  source: HubSource,
  repository: Repository,
  blob: { digest: ChunkProof['digest']; size: number },
  range: { start: number; end: number },
  o: CallOptions,
): AsyncGenerator<Buffer, void, undefined> {
  checkRange(range, blob.size);
  const { digest } = blob;
  if (range.start === range.end) return;
  const stream = await source.stream(repository, digest, range.start, o);
  if (stream === undefined) throw fetchError('NOT_FOUND', `${digest} is gone`, digest);
  if (stream.size !== blob.size) throw fetchError('BROKEN', `${digest} changed its size`, digest);
  let left = range.end - range.start;
  const hasher = left === blob.size ? createHash(digestAlgorithm(digest)) : undefined;
  for await (const bytes of stream.body) {
    o.signal?.throwIfAborted();
    const part = bytes.subarray(0, left);
    left -= part.length;
    hasher?.update(part);
    if (left === 0 && hasher !== undefined) checkDigest(hasher, digest);
    yield part;
    if (left === 0) return;
  }
  throw fetchError('BROKEN', `${digest} ended ${left} bytes early`, digest);
}

function checkDigest(hasher: Hash, digest: ChunkProof['digest']): void {
  if (hasher.digest().equals(digestBytes(digest))) return;
  throw fetchError('DIGEST_MISMATCH', `the source sent other bytes than ${digest}`, digest);
}
