import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { formatContentRange, parseRange } from '../../proto/oci/ranges.ts';
import type { BlobReader } from '../blobs/port.ts';
import { sendBody } from './body.ts';
import { isUnchanged, send, type Exchange } from './http.ts';
import type { RegistryMetrics } from './metrics.ts';

export type BlobCatalog = {
  blobIn(repository: string, digest: Digest): Promise<{ size: number } | undefined>;
  removeBlobFrom(repository: string, digest: Digest): Promise<boolean>;
};

type Modules = { blobs: BlobReader; catalog: BlobCatalog; metrics: RegistryMetrics };

/**
 * GET and HEAD of a blob with single ranges (distribution-spec "Pulling blobs"). A blob is only
 * there in the repositories it was pushed or mounted to.
 */
export async function getBlob(
  exchange: Exchange,
  { repository, digest }: { repository: Repository; digest: Digest },
  { blobs, catalog, metrics }: Modules,
): Promise<void> {
  const { request, response, signal } = exchange;
  const known = await catalog.blobIn(repository, digest);
  await using blob = known && (await blobs.open(digest));
  if (!known || !blob) throw ociError('BLOB_UNKNOWN', `no blob ${digest} in ${repository}`);
  const etag = `"${digest}"`;
  const headers = {
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag,
    'cache-control': 'max-age=31536000',
  };
  if (isUnchanged(request, etag)) return send(exchange, 304, headers);
  const range = parseRange(request.headers.range, blob.size);
  if (range.kind === 'unsatisfiable') {
    response.setHeader('content-range', `bytes */${blob.size}`);
    throw ociError('RANGE_INVALID', `the blob has ${blob.size} bytes`);
  }
  const part = range.kind === 'part' ? range : { start: 0, end: blob.size };
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    ...headers,
    'content-type': 'application/octet-stream',
    'content-length': part.end - part.start,
    ...(range.kind === 'part'
      ? { 'content-range': formatContentRange(part.start, part.end, blob.size) }
      : {}),
  });
  if (request.method === 'HEAD') return void response.end();
  metrics.lastPull.set(Date.now() / 1000);
  metrics.sentBytes.inc(await sendBody(blob, part, response, signal));
}

/** DELETE of a blob: it is gone from this repository, not from others. */
export async function deleteBlob(
  exchange: Exchange,
  { repository, digest }: { repository: Repository; digest: Digest },
  { catalog }: Modules,
): Promise<void> {
  if (!(await catalog.removeBlobFrom(repository, digest))) {
    throw ociError('BLOB_UNKNOWN', `no blob ${digest} in ${repository}`);
  }
  send(exchange, 202, {});
}
