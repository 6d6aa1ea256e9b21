import { rmSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { hasCode } from '../../proto/std/errors.ts';
import { INDEX_BUSY_MS, INDEX_ROOM_BYTES } from './constants.ts';
import { StoreError } from './errors.ts';
import { INDEX_SCHEMA, INDEX_SQL, INDEX_VERSION } from './index-schema.ts';

export type IndexRow = Record<string, SQLOutputValue>;
type Question = keyof typeof INDEX_SQL;

const IN_MEMORY = ':memory:';
const SQLITE_FULL = 13;
/** Corrupt, not a database, schema changed under us, and wrong shape of a table. */
const DAMAGE = new Set([1, 11, 17, 26]);

/**
 * The database file of the index. It is never synced while the agent runs: after a crash of the
 * machine it is not believed, and made anew. `clean` on disk says that a stop has synced it.
 */
export class IndexFile {
  readonly #path: string;
  #database: DatabaseSync;
  #statements = new Map<Question, StatementSync>();

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Opens the index, or makes an empty one when there is none to be believed. On a full disk that
   * one is in memory, for this run: the agent must start all the same, and can then make room.
   * @throws StoreError IO
   */
  static open(path: string, bootId: string): IndexFile {
    const database = openTrusted(path, bootId) ?? makeFresh(path);
    const file = new IndexFile(path, database);
    try {
      file.#begin(bootId);
    } catch (err) {
      if (!hasCode(err, 'DISK_FULL')) throw err;
      file.replace(bootId);
    }
    return file;
  }

  /** Whether every folder has its row. */
  get complete(): boolean {
    return this.state('complete') === '1';
  }

  state(key: string): string | undefined {
    const value = this.one('getState', key)?.['value'];
    return typeof value === 'string' ? value : undefined;
  }

  setState(key: string, value: string): void {
    this.run('setState', key, value);
  }

  one(question: Question, ...values: SQLInputValue[]): IndexRow | undefined {
    return this.#ask(() => this.#prepare(question).get(...values));
  }

  all(question: Question, ...values: SQLInputValue[]): IndexRow[] {
    return this.#ask(() => this.#prepare(question).all(...values));
  }

  /** Shows rows to `visit` until it says false. Nothing may be written meanwhile. */
  each(question: Question, visit: (row: IndexRow) => boolean): void {
    this.#ask(() => {
      for (const row of this.#prepare(question).iterate()) if (!visit(row)) break;
    });
  }

  run(question: Question, ...values: SQLInputValue[]): void {
    this.#ask(() => this.#prepare(question).run(...values));
  }

  /** The same with values by name. */
  write(question: Question, values: Record<string, SQLInputValue>): void {
    this.#ask(() => this.#prepare(question).run(values));
  }

  /** All or nothing of what `task` does. */
  atomically(task: () => void): void {
    this.#ask(() => this.#database.exec('BEGIN IMMEDIATE'));
    try {
      task();
      this.#ask(() => this.#database.exec('COMMIT'));
    } catch (err) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw err;
    }
  }

  /** Throws the file away and begins an empty one. */
  replace(bootId: string): void {
    closeQuietly(this.#database);
    this.#statements.clear();
    this.#database = makeFresh(this.#path);
    this.#begin(bootId);
  }

  /** Closes it so that the next start believes it, whatever happens to the machine in between. */
  close(): void {
    try {
      this.#database.exec('PRAGMA synchronous = FULL');
      // Twice: what is said about the file must not reach the disk before the file.
      this.setState('stopped', '1');
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      this.setState('clean', '1');
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } finally {
      this.#statements.clear();
      this.#database.close();
    }
  }

  #begin(bootId: string): void {
    this.#ask(() => this.#database.exec('PRAGMA synchronous = FULL'));
    this.setState('boot', bootId);
    this.setState('clean', '0');
    // Into the file itself, or an old 'clean' could come back with a log that is lost.
    this.#ask(() => {
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      this.#database.exec('PRAGMA synchronous = OFF');
    });
  }

  #prepare(question: Question): StatementSync {
    let statement = this.#statements.get(question);
    if (statement === undefined) {
      statement = this.#database.prepare(INDEX_SQL[question]);
      this.#statements.set(question, statement);
    }
    return statement;
  }

  #ask<T>(task: () => T): T {
    try {
      return task();
    } catch (err) {
      throw indexErrorOf(err, this.#path);
    }
  }
}

function openTrusted(path: string, bootId: string): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = connect(path);
    const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
    if (version !== INDEX_VERSION) throw new StoreError('no index yet', { code: 'IO', path });
    const statement = database.prepare(INDEX_SQL.getState);
    const read = (key: string) => statement.get(key)?.['value'];
    const isSynced = read('clean') === '1' || (bootId !== '' && read('boot') === bootId);
    if (isSynced) return database;
  } catch {
    // Whatever is wrong with it: the folders tell the same.
  }
  if (database !== undefined) closeQuietly(database);
  return undefined;
}

function connect(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: INDEX_BUSY_MS });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA cache_size = -2048');
    return database;
  } catch (err) {
    // What is deleted while it is open goes on taking room.
    closeQuietly(database);
    throw err;
  }
}

function makeFresh(path: string): DatabaseSync {
  try {
    return makeEmpty(path);
  } catch (err) {
    if (!hasCode(err, 'DISK_FULL')) throw err;
    // An older file would be believed by the next start.
    removeFiles(path);
    return makeTables(IN_MEMORY);
  }
}

function makeEmpty(path: string): DatabaseSync {
  try {
    removeFiles(path);
    const { bavail, bsize } = statfsSync(dirname(path));
    if (bavail * bsize < INDEX_ROOM_BYTES) throw diskFull(path);
    return makeTables(path);
  } catch (err) {
    throw indexErrorOf(err, path);
  }
}

function makeTables(path: string): DatabaseSync {
  const database = connect(path);
  try {
    database.exec(`BEGIN; ${INDEX_SCHEMA} COMMIT`);
    return database;
  } catch (err) {
    closeQuietly(database);
    throw err;
  }
}

function removeFiles(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(`${path}${suffix}`, { force: true, recursive: true });
  }
}

function closeQuietly(database: DatabaseSync): void {
  try {
    database.close();
  } catch {
    // A damaged database may not close well; its file is replaced.
  }
}

function indexErrorOf(err: unknown, path: string): unknown {
  if (!hasCode(err, 'ERR_SQLITE_ERROR')) return err;
  const code = Number(Object(err).errcode) & 0xff;
  if (code === SQLITE_FULL) {
    return diskFull(path, err);
  }
  if (DAMAGE.has(code)) {
    return new StoreError(`${path} is damaged`, { code: 'CORRUPT', path }, { cause: err });
  }
  return new StoreError(`cannot use ${path}`, { code: 'IO', path }, { cause: err });
}

function diskFull(path: string, cause?: unknown): StoreError {
  const text = `no room left for ${path}: free space or lower store.quota`;
  return new StoreError(text, { code: 'DISK_FULL', path }, { cause });
}
