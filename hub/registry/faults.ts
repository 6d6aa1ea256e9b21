import { OciError } from '../../proto/oci/errors.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { BlobStoreError } from '../blobs/errors.ts';
import { CatalogError } from '../catalog/errors.ts';
import { tooLarge } from './http.ts';

function catalogFault(err: CatalogError): OciError {
  const { data } = err;
  const cause = { cause: err };
  if (data.code === 'BLOB_UNLINKED') {
    const { digest } = data;
    const message = `the manifest names ${digest}, push it first`;
    return new OciError(message, { code: 'MANIFEST_BLOB_UNKNOWN', detail: { digest } }, cause);
  }
  if (data.code === 'PURGED') return new OciError(err.message, { code: 'DENIED' }, cause);
  if (data.code === 'BLOB_LEAVING') {
    return new OciError(err.message, { code: 'UNAVAILABLE' }, cause);
  }
  if (data.code === 'CATALOG_UNAVAILABLE') {
    const message = 'the catalog of the hub does not answer now; try again';
    return new OciError(message, { code: 'UNAVAILABLE' }, cause);
  }
  if (data.code === 'CATALOG_FULL') return noRoom(err);
  return new OciError('the hub failed; its log says why', { code: 'UNKNOWN' }, cause);
}

function noRoom(cause: unknown): OciError {
  const message = 'the hub has no room left; free some and push again';
  return new OciError(message, { code: 'UNKNOWN', status: 507 }, { cause });
}

/** A failure as the registry API tells it. */
export function faultOf(err: unknown): OciError {
  if (err instanceof OciError) return err;
  if (hasCode(err, 'DIGEST_INVALID')) {
    return new OciError(messageOf(err), { code: 'DIGEST_INVALID' }, { cause: err });
  }
  if (err instanceof CatalogError) return catalogFault(err);
  if (hasCode(err, 'NO_SPACE')) return noRoom(err);
  if (err instanceof BlobStoreError && err.data.code === 'TOO_LARGE') {
    return tooLarge(err.data.max, err);
  }
  if (hasCode(err, 'STORE_AWAY')) {
    const message = 'the storage of the hub does not answer; try again';
    return new OciError(message, { code: 'UNAVAILABLE' }, { cause: err });
  }
  if (hasCode(err, 'PENDING_LIMIT')) {
    return new OciError(messageOf(err), { code: 'TOOMANYREQUESTS' }, { cause: err });
  }
  return new OciError('the hub failed; its log says why', { code: 'UNKNOWN' }, { cause: err });
}
