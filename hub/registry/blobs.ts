import type { IncomingMessage } from 'node:http';
import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { formatContentRange, parseRange, type RangeRequest } from '../../proto/oci/ranges.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import type { BlobLink } from '../catalog/port.ts';
import type { Uplink } from '../uplink/uplink.ts';
import { sendBody } from './body.ts';
import type { BufferMemory } from './buffer-memory.ts';
import { USE_STEP_MS } from './constants.ts';
import type { UpstreamPlace } from '../upstream/port.ts';
import { isUnchanged, send, type Exchange } from './http.ts';
import type { PullThrough } from './pull-through.ts';
import type { RegistryMetrics } from './metrics.ts';

export type BlobCatalog = {
  blobIn(repository: string, digest: Digest): Promise<BlobLink | undefined>;
  useBlob(repository: string, digest: Digest): Promise<boolean>;
  removeBlobFrom(repository: string, digest: Digest): Promise<boolean>;
};

type Target = { repository: Repository; digest: Digest };
type Wanted = Target & { place: UpstreamPlace | undefined };
type Modules = {
  blobs: BlobReader;
  catalog: BlobCatalog;
  uplink: Pick<Uplink, 'enter'>;
  /** Who is to have his share of the uplink. */
  callerOf(request: IncomingMessage): string;
  metrics: RegistryMetrics;
  /** Of all bodies that are sent. */
  bodyMemory: BufferMemory;
  pullThrough?: PullThrough | undefined;
  logger: Logger;
};

/**
 * GET and HEAD of a blob with single ranges (distribution-spec "Pulling blobs"). A blob is only
 * there in the repositories it was pushed or mounted to.
 */
export async function getBlob(exchange: Exchange, target: Wanted, modules: Modules): Promise<void> {
  const { request, response } = exchange;
  const { metrics } = modules;
  const { digest } = target;
  const { method } = request;
  await using blob = await openBlob(target, exchange, modules);
  const etag = `"${digest}"`;
  const headers = {
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag,
    'cache-control': 'max-age=31536000',
  };
  if (isUnchanged(request, etag)) return send(exchange, 304, headers);
  const range = rangeOf(exchange, etag, blob.size);
  if (range.kind === 'unsatisfiable') {
    response.setHeader('content-range', `bytes */${blob.size}`);
    throw ociError('RANGE_INVALID', `the blob has ${blob.size} bytes`);
  }
  const part = range.kind === 'part' ? range : { start: 0, end: blob.size };
  if (request.method === 'GET') {
    // What is still on its way has no address yet.
    const elsewhere = blob.isGrowing ? undefined : await modules.blobs.addressOf?.(digest);
    if (elsewhere !== undefined) {
      metrics.lastPull.set(Date.now() / 1000);
      // Good for a while only, and its bearer needs no rights.
      return send(exchange, 307, { location: elsewhere, 'cache-control': 'private, no-store' });
    }
    if ((await blob.expect?.(part)) === false) throw lostBlob(target, 0, modules);
  }
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    ...headers,
    'content-type': 'application/octet-stream',
    'content-length': part.end - part.start,
    ...(range.kind === 'part'
      ? { 'content-range': formatContentRange(part.start, part.end, blob.size) }
      : {}),
  });
  if (method === 'HEAD') return void response.end();
  if (blob.isGrowing) response.flushHeaders();
  metrics.lastPull.set(Date.now() / 1000);
  const caller = modules.callerOf(request);
  using uplink = modules.uplink.enter({ repository: target.repository, digest, caller });
  const onBytes = (count: number): void => metrics.sentBytes.inc(count);
  await sendBody(blob, part, exchange, { uplink, memory: modules.bodyMemory, onBytes });
}

/** DELETE of a blob: it is gone from this repository, not from others. */
export async function deleteBlob(
  exchange: Exchange,
  { repository, digest }: Target,
  { catalog }: Pick<Modules, 'catalog'>,
): Promise<void> {
  if (!(await catalog.removeBlobFrom(repository, digest))) throw unknownBlob(repository, digest);
  send(exchange, 202, {});
}

/** A blob that storage lost or cut short is not there, so that a client pushes it again. */
async function openBlob(
  { repository, digest, place }: Wanted,
  { request, signal }: Exchange,
  { blobs, catalog, pullThrough, logger }: Modules,
): Promise<OpenBlob> {
  const asks = request.method === 'HEAD';
  const elsewhere = async (missing: () => Error): Promise<OpenBlob> => {
    if (place === undefined || pullThrough === undefined) throw missing();
    if (!asks) return pullThrough.openBlob(place, digest, { signal });
    return unread(await pullThrough.headBlob(place, digest, { signal }));
  };
  const known = await catalog.blobIn(repository, digest);
  if (!known) return elsewhere(() => unknownBlob(repository, digest));
  const { unusedSinceMs } = known;
  if (asks && unusedSinceMs !== undefined && unusedSinceMs <= Date.now() - USE_STEP_MS) {
    // Told that the blob is here, a client does not send it: it must be here a while longer.
    if (!(await catalog.useBlob(repository, digest))) {
      return elsewhere(() => unknownBlob(repository, digest));
    }
  }
  const blob = await blobs.open(digest);
  if (blob?.size === known.size) return blob;
  await blob?.[Symbol.asyncDispose]();
  return elsewhere(() => lostBlob({ repository, digest }, blob?.size ?? 0, { logger }));
}

/** A blob of which only the size is of interest. */
function unread({ size }: { size: number }): OpenBlob {
  return { size, read: async () => 0, [Symbol.asyncDispose]: async () => undefined };
}

/** @param held bytes that are left of it */
function lostBlob(target: Target, held: number, { logger }: Pick<Modules, 'logger'>): Error {
  logger.warn(
    { ...target, held },
    'the store has lost a blob or a part of it; push the image again',
  );
  return unknownBlob(target.repository, target.digest);
}

/** Ranges are for GET, and for content that is still the same (RFC 9110 sections 14.2, 13.1.5). */
function rangeOf({ request }: Exchange, etag: string, size: number): RangeRequest {
  const condition = request.headers['if-range'];
  const applies = request.method === 'GET' && (condition === undefined || condition === etag);
  return parseRange(applies ? request.headers.range : undefined, size);
}

function unknownBlob(repository: Repository, digest: Digest): Error {
  return ociError('BLOB_UNKNOWN', `no blob ${digest} in ${repository}`);
}
