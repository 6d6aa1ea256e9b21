import type { IncomingMessage } from 'node:http';
import { PROVISIONAL_HEADER } from '../../proto/chunks/provisional.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { formatContentRange, parseRange } from '../../proto/oci/ranges.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { Uplink } from '../uplink/uplink.ts';
import { sendBody } from './body.ts';
import type { BufferMemory } from './buffer-memory.ts';
import { send, type Exchange } from './http.ts';
import type { RegistryMetrics } from './metrics.ts';

type CallOptions = { signal?: AbortSignal | undefined };
type Target = { repository: Repository; digest: Digest };

/** Blobs on their way from an upstream. Says nothing about rights. */
export interface ProvisionalBlobs {
  /** A signed batch; see `Provisional.batch`. undefined when the blob is not being fetched. */
  batch(
    repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: CallOptions,
  ): Promise<Buffer | undefined>;
  /** A member will probably ask for it in a moment. Never throws. */
  ahead(repository: Repository, digest: Digest): void;
  /** Its bytes, those that are not here yet as they come. */
  open(repository: Repository, digest: Digest, o: CallOptions): Promise<OpenBlob | undefined>;
}

type Modules = {
  provisional?: ProvisionalBlobs | undefined;
  uplink: Pick<Uplink, 'enter'>;
  callerOf(request: IncomingMessage): string;
  metrics: RegistryMetrics;
  bodyMemory: BufferMemory;
};

const LEAF_INDEX = /^\d{1,8}$/;

/** GET of the leaves that have come of a blob that is being fetched; `from` waits for that leaf. */
export async function getProvisionalBatch(
  exchange: Exchange,
  { repository, digest }: Target,
  { provisional }: Pick<Modules, 'provisional'>,
): Promise<void> {
  const from = exchange.query.get('from');
  if (from !== null && !LEAF_INDEX.test(from)) {
    throw ociError('UNSUPPORTED', 'from is the number of a leaf', { status: 400 });
  }
  const { signal } = exchange;
  const first = from === null ? undefined : Number(from);
  const bytes = await provisional?.batch(repository, digest, first, { signal });
  if (bytes === undefined) throw ociError('BLOB_UNKNOWN', 'this blob is not being fetched here');
  const headers = { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' };
  send(exchange, 200, headers, bytes);
}

/** GET by a member that was asked for an image: this blob of it is probably wanted next. */
export async function getAhead(
  exchange: Exchange,
  { repository, digest }: Target,
  { provisional }: Pick<Modules, 'provisional'>,
): Promise<void> {
  provisional?.ahead(repository, digest);
  send(exchange, 200, { 'cache-control': 'no-store' });
}

/**
 * GET of bytes by one who asks for them before the digest of the blob is checked. False when that
 * was not asked, or the blob is not being fetched: then it is a blob like any other.
 */
export async function getProvisionalBytes(
  exchange: Exchange,
  { repository, digest }: Target,
  modules: Modules,
): Promise<boolean> {
  const { provisional, uplink, metrics, bodyMemory: memory } = modules;
  const { request, response, signal } = exchange;
  if (request.method !== 'GET' || request.headers[PROVISIONAL_HEADER] === undefined) return false;
  await using blob = await provisional?.open(repository, digest, { signal });
  if (blob === undefined) return false;
  const range = parseRange(request.headers.range, blob.size);
  if (range.kind !== 'part') {
    response.setHeader('content-range', `bytes */${blob.size}`);
    throw ociError('RANGE_INVALID', `a part of ${blob.size} bytes is to be named`);
  }
  const { start, end } = range;
  response.writeHead(206, {
    'content-type': 'application/octet-stream',
    'content-length': end - start,
    'content-range': formatContentRange(start, end, blob.size),
    'accept-ranges': 'bytes',
    'cache-control': 'no-store',
  });
  using turns = uplink.enter({ repository, digest, caller: modules.callerOf(request) });
  const onBytes = (count: number): void => metrics.sentBytes.inc(count);
  await sendBody(blob, { start, end }, exchange, { uplink: turns, memory, onBytes });
  return true;
}
