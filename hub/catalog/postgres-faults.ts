import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { CatalogError } from './errors.ts';

/**
 * SQLSTATEs after which the same call may work later (PostgreSQL manual, appendix A): the server
 * stops or starts, has no room for a connection, ended the statement by a time limit, is a standby
 * now, or does not know the role or database at this moment.
 */
const PASSING = /^(?:08|28|53|57)|^(?:25006|25P03|3D000|55P03)$/;
const SQLSTATE = /^[0-9A-Z]{5}$/;
/** Errors of the client that carry no code. */
const CONNECTION_LOST = /^(?:Connection terminated|Client (?:has|was)|Query read timeout|timeout )/;

/** An outage as CatalogError CATALOG_UNAVAILABLE; any other error as it is. */
export function catalogFault(err: unknown): unknown {
  return isOutage(err) ? unavailable(err) : err;
}

/** CatalogError CATALOG_UNAVAILABLE because of this. */
export function unavailable(cause: unknown): CatalogError {
  if (cause instanceof CatalogError) return cause;
  const message = `PostgreSQL does not serve the catalog now: ${messageOf(cause)}`;
  return new CatalogError(message, { code: 'CATALOG_UNAVAILABLE' }, { cause });
}

function isOutage(err: unknown): boolean {
  if (!(err instanceof Error)) return false;
  if (hasCode(err, 'CATALOG_UNAVAILABLE')) return true;
  const code = 'code' in err && typeof err.code === 'string' ? err.code : undefined;
  if (code === undefined) return CONNECTION_LOST.test(err.message);
  return SQLSTATE.test(code) ? PASSING.test(code) : 'syscall' in err;
}
