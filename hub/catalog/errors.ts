import { CodedError } from '../../proto/std/errors.ts';

type CatalogProblem =
  | { code: 'SCHEMA_TOO_NEW'; found: number; known: number }
  /** The database cannot be reached or does not answer now; the same call may work later. */
  | { code: 'CATALOG_UNAVAILABLE' }
  | { code: 'DATABASE_UNFIT' };

/** Why a catalog cannot be used. */
export class CatalogError extends CodedError<CatalogProblem> {
  override readonly name = 'CatalogError';
}
