import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { SqliteDialect, type SqliteDatabase } from 'kysely';
import { BUSY_TIMEOUT_MS } from './constants.ts';

function inputOf(value: unknown): SQLInputValue {
  if (value === null || value instanceof Uint8Array) return value;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') {
    return value;
  }
  throw new TypeError(`SQLite takes no parameter of type ${typeof value}`);
}

/** A transaction locks at its start: one that locks at its first write can fail instead of wait. */
function locking(sql: string): string {
  return sql === 'begin' ? 'begin immediate' : sql;
}

function adapterOf(database: DatabaseSync): SqliteDatabase {
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const statement = database.prepare(locking(sql));
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...parameters.map(inputOf)),
        run: (parameters) => statement.run(...parameters.map(inputOf)),
        iterate: (parameters) => statement.iterate(...parameters.map(inputOf)),
      };
    },
  };
}

/**
 * Opens the database at `path`, made if there is none: write-ahead log, durable at every commit
 * (sqlite.org/pragma.html#pragma_synchronous), foreign keys checked.
 * @throws errors of node:sqlite
 */
export function sqliteDialect(options: { path: string }): SqliteDialect {
  const database = new DatabaseSync(options.path, {
    timeout: BUSY_TIMEOUT_MS,
    enableForeignKeyConstraints: true,
  });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  } catch (err) {
    database.close();
    throw err;
  }
  return new SqliteDialect({ database: adapterOf(database) });
}
