import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { SqliteDialect, type SqliteDatabase, type SqliteStatement } from 'kysely';
import { LRUCache } from 'lru-cache';
import { messageOf } from '../../proto/std/errors.ts';
import { BUSY_TIMEOUT_MS, STATEMENT_CACHE_MAX } from './constants.ts';
import { CatalogError } from './errors.ts';

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

const IN_MEMORY = ':memory:';
/** Hashes of passwords and tokens are in it: not for everybody, also in a folder that is open. */
const FILE_MODE = 0o640;

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const BUSY = 5;
const LOCKED = 6;
const FULL = 13;
const PRIMARY_CODE = 0xff;

/** Runs a statement; what passes, and a full disk, are told as CatalogError. */
function told<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const code = cause instanceof Error && 'errcode' in cause ? Number(cause.errcode) : 0;
    const primary = code & PRIMARY_CODE;
    if (primary === BUSY || primary === LOCKED) {
      const message = `another program writes to the catalog: ${messageOf(cause)}`;
      throw new CatalogError(message, { code: 'CATALOG_UNAVAILABLE' }, { cause });
    }
    if (primary === FULL) {
      const message = `the disk of the catalog is full: ${messageOf(cause)}`;
      throw new CatalogError(message, { code: 'CATALOG_FULL' }, { cause });
    }
    throw cause;
  }
}

/**
 * Rows out of arrays of values. Objects of the driver's own making are born among the long-lived
 * ones: each page of a list would leave kilobytes that only a full collection takes away.
 */
function rowsOf(names: readonly string[], found: readonly unknown[]): unknown[] {
  return found.map((values) => {
    const row: Record<string, unknown> = {};
    if (!Array.isArray(values)) return row;
    for (let at = 0; at < names.length; at += 1) row[names[at] ?? ''] = values[at];
    return row;
  });
}

function adapterOf(database: DatabaseSync, readOnly: boolean): SqliteDatabase {
  const statements = new LRUCache<string, SqliteStatement>({ max: STATEMENT_CACHE_MAX });
  const prepared = (sql: string): SqliteStatement => {
    const statement = told(() => database.prepare(readOnly ? sql : locking(sql)));
    const names = statement.columns().map(({ name }) => name);
    statement.setReturnArrays(true);
    return {
      reader: names.length > 0,
      all: (parameters) =>
        rowsOf(
          names,
          told(() => statement.all(...parameters.map(inputOf))),
        ),
      // SQLite may have undone the transaction itself, as when the disk is full.
      run: (parameters) =>
        sql === 'rollback' && !database.isTransaction
          ? { changes: 0, lastInsertRowid: 0 }
          : told(() => statement.run(...parameters.map(inputOf))),
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
      // What has changed the schema may have changed their columns.
      else statements.clear();
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
export function sqliteDialect(options: {
  path: string;
  readOnly?: boolean;
  busyMs?: number;
}): SqliteDialect {
  const { readOnly = false } = options;
  // SQLite gives the files beside it the same mode. What is there keeps its own.
  if (!readOnly && options.path !== IN_MEMORY) closeSync(openSync(options.path, 'a', FILE_MODE));
  const database = new DatabaseSync(options.path, {
    timeout: options.busyMs ?? BUSY_TIMEOUT_MS,
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
