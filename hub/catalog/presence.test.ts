import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KyselyPlugin } from 'kysely';
import { PRESENCE_RENEW_MS } from './constants.ts';
import { enterCatalog } from './presence.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

/** A database that changes rows, and no longer tells what is in them. */
const MUTE: KyselyPlugin = {
  transformQuery: ({ node }) => {
    if (node.kind === 'SelectQueryNode') throw new Error('the database is gone');
    return node;
  },
  transformResult: async ({ result }) => result,
};

test('a program that could not come in is not in, and does not come back', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  const { db } = catalog;
  const users = () => db.selectFrom('collector').select('name').execute();
  const broken = db.withPlugin(MUTE);
  await assert.rejects(enterCatalog(broken, 'hub'), { message: 'the database is gone' });
  t.mock.timers.tick(PRESENCE_RENEW_MS);
  assert.deepEqual(await users(), []);
  const hub = await enterCatalog(db, 'hub');
  t.mock.timers.tick(PRESENCE_RENEW_MS);
  assert.equal((await users()).length, 1);
  await hub[Symbol.asyncDispose]();
  assert.deepEqual(await users(), []);
});
