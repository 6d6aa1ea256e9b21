import type { Kysely, Transaction } from 'kysely';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import {
  CONFLICT_ATTEMPTS_MAX,
  CONFLICT_PAUSE_BASE_MS,
  CONFLICT_PAUSE_MAX_MS,
} from './constants.ts';
import { CatalogError } from './errors.ts';

/** SQLSTATEs serialization_failure and deadlock_detected (PostgreSQL manual, section 13.5). */
const CONFLICTS = ['40001', '40P01'];

/**
 * Runs one transaction: all of it or nothing. When the database ends it for the sake of a
 * concurrent one it is run again, so `work` must change nothing outside.
 * @throws CatalogError CATALOG_UNAVAILABLE after CONFLICT_ATTEMPTS_MAX such ends
 */
export function transact<Tables, Result>(
  db: Kysely<Tables>,
  work: (db: Transaction<Tables>) => Promise<Result>,
): Promise<Result> {
  return retried(() => db.transaction().execute(work));
}

/** Like transact, for a single statement. */
export async function retried<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
      return await work();
    } catch (err) {
      if (!hasCode(err, ...CONFLICTS)) throw err;
      if (attempt >= CONFLICT_ATTEMPTS_MAX) throw tooMany(err);
    }
    const pause = { baseMs: CONFLICT_PAUSE_BASE_MS, maxMs: CONFLICT_PAUSE_MAX_MS };
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next attempt
    await sleep(backoffMs(attempt, pause));
  }
}

function tooMany(cause: unknown): CatalogError {
  return new CatalogError(
    `${CONFLICT_ATTEMPTS_MAX} attempts met concurrent writers: ${messageOf(cause)}`,
    { code: 'CATALOG_UNAVAILABLE' },
    { cause },
  );
}
