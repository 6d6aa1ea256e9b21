import { CodedError } from '../../proto/std/errors.ts';

export type StoreErrorData =
  /** The quota holds and nothing more may be evicted. */
  | { code: 'STORE_FULL'; neededBytes: number; quotaBytes: number }
  /** The file system has no room. */
  | { code: 'DISK_FULL'; path: string }
  | { code: 'NOT_VERIFIED'; digest: string; index: number }
  | { code: 'OUT_OF_RANGE' }
  | { code: 'DIGEST_MISMATCH'; digest: string }
  /** A file is shorter than it was written; its bits are dropped. */
  | { code: 'CORRUPT'; path: string }
  /** The blob was evicted while nobody retained it. */
  | { code: 'EVICTED'; digest: string }
  | { code: 'CLOSED' }
  | { code: 'IO'; path: string };

/** What can go wrong in the content store. */
export class StoreError extends CodedError<StoreErrorData> {
  override readonly name = 'StoreError';
}

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Turns a file system error into a StoreError: DISK_FULL or IO. */
export function storeErrorOf(cause: unknown, path: string): StoreError {
  if (cause instanceof StoreError) return cause;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (typeof code === 'string' && FULL.has(code)) {
    return new StoreError(`no room left for ${path}: free space or lower store.quota`, {
      code: 'DISK_FULL',
      path,
    });
  }
  return new StoreError(`cannot use ${path}`, { code: 'IO', path }, { cause });
}

export function storeClosed(): StoreError {
  return new StoreError('the content store is closed', { code: 'CLOSED' });
}
