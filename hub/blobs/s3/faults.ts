import { messageOf } from '../../../proto/std/errors.ts';
import { BlobStoreError } from '../errors.ts';

/** What the storage says when the object or the upload is not there; not when the bucket is. */
const MISSING = new Set(['NoSuchKey', 'NoSuchUpload', 'NotFound']);
const FULL = new Set(['QuotaExceeded', 'InsufficientCapacity', 'XMinioStorageFull']);
const BUSY = new Set(['SlowDown', 'RequestTimeout', 'ThrottlingException', 'TooManyRequests']);
const SERVER_ERROR = 500;
const FULL_STATUS = 507;

export function isMissing(err: unknown): boolean {
  return err instanceof Error && MISSING.has(err.name);
}

/** An error of the SDK as a BlobStoreError; one that is a BlobStoreError already is kept. */
export function s3Fault(err: unknown, path: string): BlobStoreError {
  if (err instanceof BlobStoreError) return err;
  const name = err instanceof Error ? err.name : '';
  const status = statusOf(err);
  const reason = name === '' ? messageOf(err) : `${name}: ${messageOf(err)}`;
  const options = { cause: err };
  if (FULL.has(name) || status === FULL_STATUS) {
    const message = `blob storage is full (${path}); free space or raise the quota`;
    return new BlobStoreError(message, { code: 'NO_SPACE', path }, options);
  }
  // Without a status nobody answered.
  const away = status === undefined || status >= SERVER_ERROR || BUSY.has(name);
  const code = away ? 'STORE_AWAY' : 'STORE_IO';
  const message = `blob storage ${away ? 'is away' : 'failed'} (${path}): ${reason}`;
  return new BlobStoreError(message, { code, path, reason }, options);
}

function statusOf(err: unknown): number | undefined {
  if (typeof err !== 'object' || err === null || !('$metadata' in err)) return undefined;
  const { $metadata: metadata } = err;
  if (typeof metadata !== 'object' || metadata === null) return undefined;
  return 'httpStatusCode' in metadata && typeof metadata.httpStatusCode === 'number'
    ? metadata.httpStatusCode
    : undefined;
}
