import { createHash } from 'node:crypto';
import { PostgresAdapter, sql, type Kysely, type Transaction } from 'kysely';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { CommitGroup } from './commit-group.ts';
import {
  CONFLICT_ATTEMPTS_MAX,
  CONFLICT_PAUSE_BASE_MS,
  CONFLICT_PAUSE_MAX_MS,
} from './constants.ts';
import { CatalogError } from './errors.ts';

/** Of 8 that PostgreSQL takes, those a JavaScript number holds exactly. */
const LOCK_NUMBER_BYTES = 6;
/** SQLSTATEs serialization_failure and deadlock_detected (PostgreSQL manual, section 13.5). */
const CONFLICTS = ['40001', '40P01'];

/** What hubs must not do at once: `lock` is held alone, `share` by all while nobody locks it. */
export type TransactOptions = { lock?: string; share?: string };

/**
 * Runs one transaction: all of it or nothing. When the database ends it for the sake of a
 * concurrent one it is run again, so `work` must change nothing outside. Each statement sees what
 * others committed before it, so work that reads and then writes by what it read names a `lock`.
 * @throws CatalogError CATALOG_UNAVAILABLE after CONFLICT_ATTEMPTS_MAX such ends
 */
export function transact<Tables, Result>(
  db: Kysely<Tables>,
  work: (db: Transaction<Tables>) => Promise<Result>,
  options: TransactOptions = {},
): Promise<Result> {
  const group = groupOf(db);
  if (group !== undefined) return group.run(work);
  const run = async (transaction: Transaction<Tables>): Promise<Result> => {
    await wait(transaction, options);
    return work(transaction);
  };
  return retried(() => db.transaction().execute(run));
}

/**
 * Like transact, for items that have nothing to do with each other. PostgreSQL gets a transaction
 * for each, so that none holds rows while it waits for others; SQLite, where each costs a sync of
 * the disk and nobody waits for rows, one for all.
 */
export async function transactEach<Tables, Item, Result>(
  db: Kysely<Tables>,
  items: readonly Item[],
  work: (db: Transaction<Tables>, item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  if (groupOf(db) === undefined) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    for (const item of items) results.push(await transact(db, (own) => work(own, item)));
    return results;
  }
  return transact(db, async (own) => {
    // oxlint-disable-next-line no-await-in-loop -- in one transaction
    for (const item of items) results.push(await work(own, item));
    return results;
  });
}

/** Like transact, for one statement that changes something. */
export function change<Tables, Result>(
  db: Kysely<Tables>,
  work: (db: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  return groupOf(db) === undefined ? work(db) : transact(db, work);
}

/** By executor, which all that is made of one database shares. */
const groups = new WeakMap<object, CommitGroup>();

/** In SQLite a transaction is alone from its start; undefined for PostgreSQL. */
function groupOf<Tables>(db: Kysely<Tables>): CommitGroup | undefined {
  const executor = db.getExecutor();
  if (executor.adapter instanceof PostgresAdapter) return undefined;
  const known = groups.get(executor) ?? new CommitGroup(db);
  groups.set(executor, known);
  return known;
}

/** PostgreSQL knows locks by number. */
async function wait<Tables>(
  db: Transaction<Tables>,
  { lock, share }: TransactOptions,
): Promise<void> {
  if (share !== undefined) {
    await sql`select pg_advisory_xact_lock_shared(${sql.lit(lockNumber(share))})`.execute(db);
  }
  if (lock !== undefined) {
    await sql`select pg_advisory_xact_lock(${sql.lit(lockNumber(lock))})`.execute(db);
  }
}

/** Number of a lock, the same in every hub. */
export function lockNumber(name: string): number {
  const hash = createHash('sha256').update(`flotilla lock ${name}`).digest();
  return hash.readUIntBE(0, LOCK_NUMBER_BYTES);
}

/** Like transact, for a single statement. */
export async function retried<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
      return await work();
    } catch (err) {
      if (!hasCode(err, ...CONFLICTS)) throw err;
      if (attempt >= CONFLICT_ATTEMPTS_MAX) throw tooMany(err);
    }
    const pause = { baseMs: CONFLICT_PAUSE_BASE_MS, maxMs: CONFLICT_PAUSE_MAX_MS };
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next attempt
    await sleep(backoffMs(attempt, pause));
  }
}

function tooMany(cause: unknown): CatalogError {
  return new CatalogError(
    `${CONFLICT_ATTEMPTS_MAX} attempts met concurrent writers: ${messageOf(cause)}`,
    { code: 'CATALOG_UNAVAILABLE' },
    { cause },
  );
}
