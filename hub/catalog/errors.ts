import { CodedError } from '../../proto/std/errors.ts';

type CatalogProblem = { code: 'SCHEMA_TOO_NEW'; found: number; known: number };

/** Why a catalog cannot be used. */
export class CatalogError extends CodedError<CatalogProblem> {
  override readonly name = 'CatalogError';
}
