import { CodedError } from '../../proto/std/errors.ts';

type BlobStoreErrorData =
  | { code: 'NO_SPACE'; path: string }
  | { code: 'STORE_IO'; path: string; reason: string }
  | { code: 'STORE_AWAY'; path: string; reason: string }
  | { code: 'PENDING_CLOSED'; id: string }
  | { code: 'PENDING_LIMIT'; max: number }
  | { code: 'TOO_LARGE'; max: number };

/**
 * Faults of blob storage. `NO_SPACE` is for people: the medium is full or its quota is used up.
 * `STORE_AWAY` passes: the storage does not answer now. `TOO_LARGE` never will: no blob may have
 * more than `max` bytes.
 */
export class BlobStoreError extends CodedError<BlobStoreErrorData> {}
