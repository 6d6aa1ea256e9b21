import { PostgresAdapter, sql, type ControlledTransaction, type Kysely } from 'kysely';
import type { CatalogSnapshot, TablePage, Value } from '../backup/store.ts';
import { BACKUP_TABLES, type BackupTable } from './backup-tables.ts';
import { SNAPSHOT_LARGE_ROWS, SNAPSHOT_ROWS } from './constants.ts';
import { schemaVersion } from './migrate.ts';

/** Tables by name, of which nothing is known. */
export type AnyTables = Record<string, Record<string, Value>>;
type Read = ControlledTransaction<AnyTables>;

/** One transaction that only reads, in a connection of its own, which it closes. */
export class KyselySnapshot implements CatalogSnapshot {
  readonly schema: number;
  readonly #db: Kysely<AnyTables>;
  readonly #read: Read;
  readonly #ended: () => void;

  private constructor(parts: {
    db: Kysely<AnyTables>;
    read: Read;
    schema: number;
    ended: () => void;
  }) {
    this.#db = parts.db;
    this.#read = parts.read;
    this.#ended = parts.ended;
    this.schema = parts.schema;
  }

  /** `db` is closed with the snapshot, and when this rejects. */
  static async begin(
    db: Kysely<AnyTables>,
    { ended }: { ended: () => void },
  ): Promise<KyselySnapshot> {
    try {
      const begin = db.startTransaction();
      const isPostgres = db.getExecutor().adapter instanceof PostgresAdapter;
      // SQLite sees one state throughout without being told.
      const read = isPostgres
        ? await begin.setIsolationLevel('repeatable read').setAccessMode('read only').execute()
        : await begin.execute();
      // What is seen is fixed by the first statement.
      return new KyselySnapshot({ db, read, schema: await schemaVersion(read), ended });
    } catch (err) {
      await db.destroy();
      throw err;
    }
  }

  async *pages(): AsyncGenerator<TablePage> {
    const known = new Map(
      (await this.#read.introspection.getTables()).map(({ name, columns }) => [name, columns]),
    );
    for (const table of BACKUP_TABLES) {
      const all = known.get(table.name)?.map(({ name }) => name) ?? [];
      const columns = all.filter((name) => !table.fresh?.includes(name));
      yield* this.#pagesOf(table, columns);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#read
      .rollback()
      .execute()
      .catch(() => undefined);
    await this.#db.destroy();
    this.#ended();
  }

  async *#pagesOf(table: BackupTable, columns: readonly string[]): AsyncGenerator<TablePage> {
    const max = table.large === true ? SNAPSHOT_LARGE_ROWS : SNAPSHOT_ROWS;
    const key = sql.join(table.key.map((name) => sql.ref(name)));
    for (let after: readonly Value[] | undefined; ;) {
      const conditions = [
        ...(table.onlyWithout === undefined ? [] : [sql`${sql.ref(table.onlyWithout)} is null`]),
        ...(after === undefined ? [] : [sql`(${key}) > (${sql.join(after)})`]),
      ];
      const where =
        conditions.length === 0 ? sql`` : sql`where ${sql.join(conditions, sql` and `)}`;
      const { rows } = await sql<Record<string, Value>>`
        select ${sql.join(columns.map((name) => sql.ref(name)))} from ${sql.table(table.name)}
        ${where} order by ${key} limit ${sql.lit(max)}`.execute(this.#read);
      yield {
        table: table.name,
        columns,
        rows: rows.map((row) => columns.map((name) => row[name] ?? null)),
      };
      const last = rows.at(-1);
      if (last === undefined || rows.length < max) return;
      after = table.key.map((name) => last[name] ?? null);
    }
  }
}
