import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import { LRUCache } from 'lru-cache';
import { BUSY_TIMEOUT_MS, STATEMENT_CACHE_MAX } from './constants.ts';

function inputOf(value: unknown): SQLInputValue {
  if (value === null || value instanceof Uint8Array) return value;
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') {
    return value;
  }
  throw new TypeError(`SQLite takes no parameter of type ${typeof value}`);
}

/** Statements that come again; what changes the schema does not. */
const KEPT = /^(?:select|insert|update|delete|begin|commit|rollback|savepoint|release)\b/;

/** A transaction locks at its start: one that locks at its first write can fail instead of wait. */
function locking(sql: string): string {
  return sql === 'begin' ? 'begin immediate' : sql;
}

function adapterOf(database: DatabaseSync, readOnly: boolean): SqliteDatabase {
  const statements = new LRUCache<string, SqliteStatement>({ max: STATEMENT_CACHE_MAX });
  const prepared = (sql: string): SqliteStatement => {
    const statement = database.prepare(readOnly ? sql : locking(sql));
    return {
      reader: statement.columns().length > 0,
      all: (parameters) => statement.all(...parameters.map(inputOf)),
      run: (parameters) => statement.run(...parameters.map(inputOf)),
      // One of its own: it may be read while another of the same text is.
      iterate: (parameters) => database.prepare(sql).iterate(...parameters.map(inputOf)),
    };
  };
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const known = statements.get(sql);
      if (known !== undefined) return known;
      const statement = prepared(sql);
      if (KEPT.test(sql)) statements.set(sql, statement);
      return statement;
    },
  };
}

/**
 * Opens the database at `path`, made if there is none: write-ahead log, durable at every commit
 * (sqlite.org/pragma.html#pragma_synchronous), foreign keys checked. With `readOnly` transactions
 * see one state of it, wait for nobody and let nobody wait.
 * @throws errors of node:sqlite
 */
export function sqliteDialect(options: { path: string; readOnly?: boolean }): SqliteDialect {
  const { readOnly = false } = options;
  const database = new DatabaseSync(options.path, {
    timeout: BUSY_TIMEOUT_MS,
    enableForeignKeyConstraints: true,
    readOnly,
  });
  try {
    if (!readOnly) database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  } catch (err) {
    database.close();
    throw err;
  }
  return new SqliteDialect({ database: adapterOf(database, readOnly) });
}
