import type { Logger } from '../../proto/ops/logger.ts';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { POSTGRES_START_MS, POSTGRES_START_PAUSE_MS } from './constants.ts';
import type { OpenCatalog } from './open-catalog.ts';
import { openPostgresCatalog } from './postgres-catalog.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';

const PAUSE = { baseMs: 200, maxMs: POSTGRES_START_PAUSE_MS };

/**
 * The catalog in PostgreSQL, which may start at the same time as the hub and after it: waits for
 * its first answer.
 * @throws CatalogError CATALOG_UNAVAILABLE when there is none within `waitMs`; as for
 * openPostgresCatalog
 */
export async function awaitPostgresCatalog(
  options: PostgresPoolOptions,
  { logger, waitMs = POSTGRES_START_MS }: { logger: Logger; waitMs?: number },
): Promise<OpenCatalog> {
  const startedMs = performance.now();
  for (let attempt = 1; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
      return await openPostgresCatalog(options);
    } catch (err) {
      const spentMs = performance.now() - startedMs;
      if (!hasCode(err, 'CATALOG_UNAVAILABLE') || spentMs > waitMs) throw err;
      if (attempt === 1) {
        const fields = { reason: messageOf(err), seconds: waitMs / 1000 };
        logger.warn(fields, 'the hub waits for PostgreSQL before it starts');
      }
    }
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next attempt
    await sleep(backoffMs(attempt, PAUSE));
  }
}
