import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import { createLogger } from '../../proto/ops/logger.ts';
import { NamedLeases, type LeaseTables } from './named-lease.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { Chores } from './chores.ts';

const HOUR_MS = 3_600_000;
const SOON_MS = 30;
const logger = createLogger({ level: 'silent', name: 'test' });

async function database(t: TestContext): Promise<Kysely<LeaseTables>> {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  return catalog.db.withTables<LeaseTables>();
}

function hub(t: TestContext, holder: string, db: Kysely<LeaseTables>): Chores {
  const chores = new Chores({ leases: new NamedLeases({ holder }, { db }), logger });
  t.after(() => chores.close());
  return chores;
}

/** As if the hubs that hold leases had gone long ago. */
async function endLeases(db: Kysely<LeaseTables>): Promise<void> {
  await db.updateTable('named_lease').set({ until_ms: 0 }).execute();
}

test('of hubs that share a catalog one does a chore, until it is gone', async (t) => {
  const db = await database(t);
  const done: string[] = [];
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const a = hub(t, 'a', db);
  a.add({ name: 'purge', everyMs: HOUR_MS, run: async () => first.resolve(void done.push('a')) });
  await first.promise;
  const b = hub(t, 'b', db);
  const run = async (): Promise<void> => second.resolve(void done.push('b'));
  b.add({ name: 'purge', everyMs: SOON_MS, run });
  // Another chore that comes as often shows that the time of the first has come several times.
  const many = Promise.withResolvers<void>();
  let beats = 0;
  const beat = async (): Promise<void> => void (++beats === 3 && many.resolve());
  b.add({ name: 'beat', everyMs: SOON_MS, run: beat });
  await many.promise;
  assert.deepEqual(done, ['a']);
  await a.close();
  await endLeases(db);
  await second.promise;
  assert.equal(done[1], 'b');
});

test('a chore whose lease another took is told to stop', async (t) => {
  const db = await database(t);
  const begun = Promise.withResolvers<AbortSignal>();
  hub(t, 'a', db).add({
    name: 'purge',
    everyMs: SOON_MS,
    run: async (signal) => {
      begun.resolve(signal);
      if (!signal.aborted) await once(signal, 'abort');
    },
  });
  const signal = await begun.promise;
  const stopped = once(signal, 'abort');
  const other = new NamedLeases({ holder: 'b' }, { db });
  while ((await other.acquire('purge', HOUR_MS)) === undefined) await endLeases(db);
  await stopped;
});

test('a chore that fails is told and comes again; the end waits for it', async (t) => {
  const db = await database(t);
  const again = Promise.withResolvers<AbortSignal>();
  let runs = 0;
  let ended = false;
  const chores = hub(t, 'a', db);
  const run = async (signal: AbortSignal): Promise<void> => {
    if (++runs === 1) throw new Error('no database');
    again.resolve(signal);
    if (!signal.aborted) await once(signal, 'abort');
    ended = true;
  };
  chores.add({ name: 'purge', everyMs: SOON_MS, run });
  await again.promise;
  await chores.close();
  assert.equal(ended, true);
});
