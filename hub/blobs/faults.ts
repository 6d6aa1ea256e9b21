import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { BlobStoreError } from './errors.ts';

/** The system's error as a BlobStoreError; one that is a BlobStoreError already is kept. */
export function storeFault(err: unknown, path: string): BlobStoreError {
  if (err instanceof BlobStoreError) return err;
  if (hasCode(err, 'ENOSPC', 'EDQUOT')) {
    return new BlobStoreError(
      `blob storage is full (${path}); free space or enlarge the volume`,
      { code: 'NO_SPACE', path },
      { cause: err },
    );
  }
  const reason = messageOf(err);
  return new BlobStoreError(
    `blob storage failed at ${path}: ${reason}`,
    { code: 'STORE_IO', path, reason },
    { cause: err },
  );
}
