import { readFile } from 'node:fs/promises';
import type { PostgresSettings } from './options.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';

/** The settings with what is in the file of certificates. @throws errors of node:fs */
export async function poolOptionsOf(postgres: PostgresSettings): Promise<PostgresPoolOptions> {
  const { tls, caFile, ...target } = postgres;
  const ca = caFile === undefined ? {} : { ca: await readFile(caFile, 'utf8') };
  return tls ? { ...target, tls: ca } : target;
}
