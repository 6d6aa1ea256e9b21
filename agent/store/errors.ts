import { CodedError } from '../../proto/std/errors.ts';

export type StoreErrorData =
  /** The quota holds and nothing more may be evicted. */
  | { code: 'STORE_FULL'; neededBytes: number; quotaBytes: number }
  /** The file system has no room. */
  | { code: 'DISK_FULL'; path: string }
  | { code: 'NOT_VERIFIED'; digest: string; index: number }
  | { code: 'OUT_OF_RANGE' }
  | { code: 'DIGEST_MISMATCH'; digest: string }
  /** A file does not hold what was written any more; its bits are dropped. */
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

/** What may be better in a moment, and says nothing about the file. */
const PASSING = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EINTR', 'EBUSY']);

/** Whether the file system says that it cannot give the bytes of a file, now or ever. */
export function isUnreadable(cause: unknown): boolean {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' && !PASSING.has(code);
}

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

/** The quota holds. */
export function storeFull(why: string, neededBytes: number, quotaBytes: number): StoreError {
  const data = { code: 'STORE_FULL', neededBytes, quotaBytes } as const;
  return new StoreError(`no room for ${neededBytes} bytes: ${why}`, data);
}

export function storeClosed(): StoreError {
  return new StoreError('the content store is closed', { code: 'CLOSED' });
}
