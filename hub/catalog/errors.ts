import { CodedError } from '../../proto/std/errors.ts';

type CatalogProblem =
  | { code: 'SCHEMA_TOO_NEW'; found: number; known: number }
  /** The database cannot be reached or does not answer now; the same call may work later. */
  | { code: 'CATALOG_UNAVAILABLE' }
  | { code: 'CATALOG_FULL' }
  | { code: 'DATABASE_UNFIT' }
  /** By a program that it cannot be used beside. */
  | { code: 'CATALOG_IN_USE' }
  | { code: 'TOO_MANY_SNAPSHOTS' }
  /** Rows of a backup that do not fit the tables. */
  | { code: 'ROWS_UNFIT'; table: string }
  /** The repository has not, or no longer, a blob that a manifest needs. */
  | { code: 'BLOB_UNLINKED'; digest: string }
  /** Its bytes are being removed this moment. */
  | { code: 'BLOB_LEAVING'; digest: string }
  | { code: 'PURGED'; digest: string };

/** Why a catalog cannot be used, or takes something not now. */
export class CatalogError extends CodedError<CatalogProblem> {
  override readonly name = 'CatalogError';
}
