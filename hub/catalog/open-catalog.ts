import type { Kysely } from 'kysely';
import type { CatalogSnapshot } from '../backup/store.ts';
import { SNAPSHOTS_MAX } from './constants.ts';
import { CatalogError } from './errors.ts';
import { KyselyCatalog } from './kysely-catalog.ts';
import type { ManifestCache } from './manifest-cache.ts';
import type { Catalog } from './port.ts';
import type { RegistryTables } from './schema.ts';
import { KyselySnapshot, type AnyTables } from './snapshot.ts';

/** A catalog with the database it is in, whose tables other rooms share. */
export type OpenCatalog = Catalog & {
  readonly db: Kysely<RegistryTables>;
  /** To be called by who changes manifests or tags in `db` itself, when the change is durable. */
  manifestsChanged(): void;
  /**
   * The catalog as it is now, to be read while others change it.
   * @throws CatalogError TOO_MANY_SNAPSHOTS, CATALOG_UNAVAILABLE
   */
  snapshot(): Promise<CatalogSnapshot>;
  close(): Promise<void>;
};

/** The catalog of a database that has the newest schema; closing it closes the database. */
export class DatabaseCatalog extends KyselyCatalog implements OpenCatalog {
  readonly db: Kysely<RegistryTables>;
  readonly #manifests: ManifestCache | undefined;
  readonly #reader: () => Kysely<AnyTables>;
  #snapshots = 0;

  /** `reader` opens a connection of its own for a snapshot. */
  constructor(
    db: Kysely<RegistryTables>,
    modules: { reader: () => Kysely<AnyTables>; cache?: ManifestCache },
  ) {
    const { reader, ...rest } = modules;
    super({ db, ...rest });
    this.db = db;
    this.#reader = reader;
    this.#manifests = modules.cache;
  }

  async snapshot(): Promise<CatalogSnapshot> {
    if (this.#snapshots >= SNAPSHOTS_MAX) {
      throw new CatalogError(`${SNAPSHOTS_MAX} snapshots of the catalog are being read`, {
        code: 'TOO_MANY_SNAPSHOTS',
      });
    }
    this.#snapshots += 1;
    const ended = (): void => void (this.#snapshots -= 1);
    try {
      return await KyselySnapshot.begin(this.#reader(), { ended });
    } catch (err) {
      ended();
      throw err;
    }
  }

  manifestsChanged(): void {
    this.#manifests?.clear();
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}
