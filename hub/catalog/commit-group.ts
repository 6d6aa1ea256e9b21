import { setImmediate } from 'node:timers/promises';
import { sql, type Kysely, type Transaction } from 'kysely';
import { COMMIT_GROUP_MAX } from './constants.ts';

type Task = {
  work: (db: Transaction<unknown>) => Promise<void>;
  /** After the commit. */
  done: () => void;
  failed: (err: unknown) => void;
};

/**
 * Transactions of a database with one connection that come at the same time share one commit, and
 * so one sync of the disk. Each is all or nothing for itself, sees those before it, and ends when
 * the commit it shares is durable.
 */
export class CommitGroup {
  readonly #db: Kysely<unknown>;
  #waiting: Task[] = [];
  #running = false;

  /** Which tables a caller knows of is a matter of types alone. */
  constructor(db: Pick<Kysely<never>, 'getExecutor'>) {
    // oxlint-disable-next-line no-unsafe-type-assertion -- a Kysely of other tables
    this.#db = db as Kysely<unknown>;
  }

  run<Tables, Result>(work: (db: Transaction<Tables>) => Promise<Result>): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    let result: { value: Result } | undefined;
    this.#waiting.push({
      work: async (db) => {
        // oxlint-disable-next-line no-unsafe-type-assertion -- the same transaction
        result = { value: await work(db as unknown as Transaction<Tables>) };
      },
      done: () => result && resolve(result.value),
      failed: reject,
    });
    if (!this.#running) void this.#drain();
    return promise;
  }

  /** Never rejects. */
  async #drain(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      // The driver is synchronous: what came while it worked gets in line now.
      // oxlint-disable-next-line no-await-in-loop -- one commit after the other
      await setImmediate();
      const group = this.#waiting.splice(0, COMMIT_GROUP_MAX);
      // oxlint-disable-next-line no-await-in-loop -- one commit after the other
      await this.#commit(group);
    }
    this.#running = false;
  }

  async #commit(group: readonly Task[]): Promise<void> {
    const [only] = group;
    let tell: (() => void)[] = [];
    try {
      await this.#db.transaction().execute(async (db) => {
        if (group.length > 1) tell = await runEach(group, db);
        else if (only !== undefined) {
          await only.work(db);
          tell = [only.done];
        }
      });
    } catch (err) {
      for (const { failed } of group) failed(err);
      return;
    }
    for (const one of tell) one();
  }
}

/** Undoes those that fail, and only those; returns what to tell when the rest is durable. */
async function runEach(group: readonly Task[], db: Transaction<unknown>): Promise<(() => void)[]> {
  const tell: (() => void)[] = [];
  for (const { work, done, failed } of group) {
    // oxlint-disable no-await-in-loop -- one connection
    await sql`savepoint work`.execute(db);
    try {
      await work(db);
      tell.push(done);
    } catch (err) {
      try {
        await sql`rollback to work`.execute(db);
      } catch {
        // The database has undone everything, and that ends the whole group.
        throw err;
      }
      tell.push(() => failed(err));
    }
    await sql`release work`.execute(db);
    // oxlint-enable no-await-in-loop
  }
  return tell;
}
