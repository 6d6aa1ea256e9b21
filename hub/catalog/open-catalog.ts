import type { Kysely } from 'kysely';
import { KyselyCatalog } from './kysely-catalog.ts';
import type { Catalog } from './port.ts';
import type { RegistryTables } from './schema.ts';

/** A catalog with the database it is in, whose tables other rooms share. */
export type OpenCatalog = Catalog & {
  readonly db: Kysely<RegistryTables>;
  close(): Promise<void>;
};

/** The catalog of a database that has the newest schema; closing it closes the database. */
export class DatabaseCatalog extends KyselyCatalog implements OpenCatalog {
  readonly db: Kysely<RegistryTables>;

  constructor(db: Kysely<RegistryTables>) {
    super({ db });
    this.db = db;
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
