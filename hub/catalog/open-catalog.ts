import type { Kysely } from 'kysely';
import { KyselyCatalog } from './kysely-catalog.ts';
import type { ManifestCache } from './manifest-cache.ts';
import type { Catalog } from './port.ts';
import type { RegistryTables } from './schema.ts';

/** A catalog with the database it is in, whose tables other rooms share. */
export type OpenCatalog = Catalog & {
  readonly db: Kysely<RegistryTables>;
  /** To be called by who changes manifests or tags in `db` itself, when the change is durable. */
  manifestsChanged(): void;
  close(): Promise<void>;
};

/** The catalog of a database that has the newest schema; closing it closes the database. */
export class DatabaseCatalog extends KyselyCatalog implements OpenCatalog {
  readonly db: Kysely<RegistryTables>;
  readonly #manifests: ManifestCache | undefined;

  constructor(db: Kysely<RegistryTables>, modules: { cache?: ManifestCache } = {}) {
    super({ db, ...modules });
    this.db = db;
    this.#manifests = modules.cache;
  }

  manifestsChanged(): void {
    this.#manifests?.clear();
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
