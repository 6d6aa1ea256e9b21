import path from 'node:path';
import type { Logger } from '../../proto/ops/logger.ts';
import { OutageLog } from '../../proto/ops/outage-log.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { PostgresSettings } from './options.ts';
import { awaitPostgresCatalog } from './await-postgres.ts';
import { poolOptionsOf } from './pool-options.ts';
import { openPostgresCatalog } from './postgres-catalog.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

/** Where the catalog of a hub with this data folder is, unless it is in PostgreSQL. */
export function catalogFileIn(dataDir: string): string {
  return path.join(dataDir, 'catalog.sqlite');
}

/**
 * In PostgreSQL when the configuration names one, in a file of the data folder otherwise. With a
 * logger it waits for a PostgreSQL that is not there yet, and tells of outages.
 * @throws CatalogError; errors of the database and of node:fs
 */
export async function openConfiguredCatalog(
  postgres: PostgresSettings | undefined,
  { dataDir, logger }: { dataDir: string; logger?: Logger },
): Promise<OpenCatalog> {
  if (postgres === undefined) return openSqliteCatalog({ path: catalogFileIn(dataDir) });
  const options = await poolOptionsOf(postgres);
  if (logger === undefined) return openPostgresCatalog(options);
  const outage = new OutageLog({ what: 'PostgreSQL' }, { logger });
  return awaitPostgresCatalog({ ...options, outage }, { logger });
}
