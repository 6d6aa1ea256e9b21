import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { OpenCatalog } from './open-catalog.ts';
import type { PostgresSettings } from './options.ts';
import { openPostgresCatalog } from './postgres-catalog.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

/** Where the catalog of a hub with this data folder is, unless it is in PostgreSQL. */
export function catalogFileIn(dataDir: string): string {
  return path.join(dataDir, 'catalog.sqlite');
}

/**
 * In PostgreSQL when the configuration names one, in a file of the data folder otherwise.
 * @throws CatalogError; errors of the database and of node:fs
 */
export async function openConfiguredCatalog(
  postgres: PostgresSettings | undefined,
  dataDir: string,
): Promise<OpenCatalog> {
  if (postgres === undefined) return openSqliteCatalog({ path: catalogFileIn(dataDir) });
  const { tls, caFile, ...target } = postgres;
  const ca = caFile === undefined ? {} : { ca: await readFile(caFile, 'utf8') };
  return openPostgresCatalog(tls ? { ...target, tls: ca } : target);
}
