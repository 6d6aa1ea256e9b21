import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Kysely } from 'kysely';
import { accessStoreConformance } from './access-conformance.ts';
import { KyselyAccessStore } from './access-store.ts';
import type { AccessTables } from './access-tables.ts';
import { up as registry } from './migrations/0001-registry.ts';
import { up as access } from './migrations/0006-access.ts';
import type { RegistryTables } from './schema.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

accessStoreConformance('SQLite', async (t) => {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  const { db } = catalog;
  return {
    store: new KyselyAccessStore({ db: db.withTables<AccessTables>() }),
    addRepository: async (name) => {
      await db.insertInto('repository').values({ name }).execute();
    },
  };
});

test('repositories from before there were projects stay readable by everybody', async () => {
  await using db = new Kysely<RegistryTables>({ dialect: sqliteDialect({ path: ':memory:' }) });
  await registry(db);
  const names = ['app', 'team/app', 'team/sub/app', 'other/x'];
  await db
    .insertInto('repository')
    .values(names.map((name) => ({ name })))
    .execute();
  await access(db);
  const store = new KyselyAccessStore({ db: db.withTables<AccessTables>() });
  const found = await store.projects({ n: 10 });
  assert.deepEqual(
    found.map(({ name, visibility }) => `${name} ${visibility}`),
    ['library public', 'other public', 'team public'],
  );
});
