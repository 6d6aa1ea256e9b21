import { sql, type Kysely, type Transaction } from 'kysely';
import type { TablePage } from '../backup/store.ts';
import { BACKUP_TABLES, RIGHTS_TABLES } from './backup-tables.ts';
import { CatalogError } from './errors.ts';
import { migrate, SCHEMA_VERSION } from './migrate.ts';
import type { RegistryTables } from './schema.ts';

/** What the objects of a bucket are called is noted while they are stored, not with the rest. */
const NOTED_BEFORE: readonly string[] = ['blob_object'];
/** A power of two. */
const INSERT_ROWS_MAX = 64;

/** The tables of a catalog that rows of a backup are put into. */
export class RestoredTables {
  readonly db: Kysely<RegistryTables>;

  /** `db` has no tables yet, or those of an earlier attempt; it is closed with this. */
  constructor(modules: { db: Kysely<RegistryTables> }) {
    this.db = modules.db;
  }

  close(): Promise<void> {
    return this.db.destroy();
  }

  /** Whether something is recorded here that a restore would mix with. */
  async isEmpty(): Promise<boolean> {
    const known = new Set((await this.db.introspection.getTables()).map(({ name }) => name));
    for (const { name } of BACKUP_TABLES) {
      if (!known.has(name) || NOTED_BEFORE.includes(name)) continue;
      // oxlint-disable-next-line no-await-in-loop -- a few tables
      const { rows } = await sql`select 1 as one from ${sql.table(name)} limit 1`.execute(this.db);
      if (rows.length > 0) return false;
    }
    return true;
  }

  /**
   * Makes the tables as they were in that version.
   * @throws CatalogError SCHEMA_TOO_NEW
   */
  async prepare(schema: number): Promise<void> {
    if (schema > SCHEMA_VERSION) {
      throw new CatalogError(
        `the backup has schema version ${schema}, this program knows ${SCHEMA_VERSION} and ` +
          'older; restore it with the newer program',
        { code: 'SCHEMA_TOO_NEW', found: schema, known: SCHEMA_VERSION },
      );
    }
    await migrate(this.db, { to: schema });
  }

  /** Brings the tables to the newest version. */
  finish(): Promise<void> {
    return migrate(this.db);
  }

  /**
   * Puts rows in, all or none. What is there of `which` tables is removed first.
   * @throws CatalogError ROWS_UNFIT; what `pages` throws
   */
  async fill(pages: AsyncIterable<TablePage>, which: 'content' | 'rights'): Promise<void> {
    const columns = await this.#columns();
    await this.db.transaction().execute(async (db) => {
      for (const { name } of BACKUP_TABLES.toReversed()) {
        if (!isOf(name, which) || !columns.has(name)) continue;
        // oxlint-disable-next-line no-await-in-loop -- in the order that foreign keys want
        await sql`delete from ${sql.table(name)}`.execute(db);
      }
      for await (const page of pages) {
        if (!isOf(page.table, which)) continue;
        assertFits(page, columns);
        await insert(db, page);
      }
    });
  }

  async #columns(): Promise<Map<string, ReadonlySet<string>>> {
    const tables = await this.db.introspection.getTables();
    return new Map(
      tables.map(({ name, columns }) => [name, new Set(columns.map((column) => column.name))]),
    );
  }
}

function isOf(table: string, which: 'content' | 'rights'): boolean {
  if (NOTED_BEFORE.includes(table)) return false;
  return RIGHTS_TABLES.has(table) === (which === 'rights');
}

/** Names come out of a file: only those of tables and columns that are there are used. */
function assertFits({ table, columns }: TablePage, known: Map<string, ReadonlySet<string>>): void {
  const isMeant = BACKUP_TABLES.some(({ name }) => name === table);
  const strange = columns.find((name) => known.get(table)?.has(name) !== true);
  if (isMeant && strange === undefined) return;
  throw new CatalogError(
    `the backup has ${isMeant ? `a column ${strange} of ` : ''}a table ${table} that is unknown`,
    { code: 'ROWS_UNFIT', table },
  );
}

async function insert(db: Transaction<RegistryTables>, page: TablePage): Promise<void> {
  const { table, columns, rows } = page;
  const names = sql.join(columns.map((name) => sql.ref(name)));
  let count = INSERT_ROWS_MAX;
  for (let at = 0; at < rows.length; at += count) {
    // Few different statements: drivers keep them, with the values they had last.
    while (count > rows.length - at) count /= 2;
    const values = rows.slice(at, at + count).map((row) => sql`(${sql.join(row)})`);
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await sql`insert into ${sql.table(table)} (${names}) values ${sql.join(values)}`.execute(db);
  }
}
