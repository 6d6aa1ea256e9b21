import { CodedError } from '../../proto/std/errors.ts';

/** A catalog that this version cannot use. */
export class CatalogError extends CodedError<{
  code: 'SCHEMA_NEWER';
  found: number;
  known: number;
}> {}
