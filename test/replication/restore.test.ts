import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import {
  KyselyReplicationStore,
  type ReplicationTables,
} from '../../hub/catalog/replication-store.ts';
import { RestoredTables } from '../../hub/catalog/restored-tables.ts';
import { SCHEMA_VERSION } from '../../hub/catalog/migrate.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';

test('a rule comes back from a backup switched off', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-restore-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const open = async (name: string) => {
    const catalog = await openSqliteCatalog({ path: path.join(folder, name) });
    t.after(() => catalog.close());
    const db = catalog.db.withTables<ReplicationTables>();
    return { catalog, store: new KyselyReplicationStore({ db }) };
  };
  const before = await open('before.sqlite');
  const settings = { direction: 'push', registry: 'other', repositories: ['**'] } as const;
  const rule = { name: 'out', settings: { ...settings, repositories: ['**'] }, changedMs: 1 };
  await before.store.addRule({ ...rule, enabled: true }, { max: 1 });
  const after = await open('after.sqlite');
  const tables = new RestoredTables({ db: after.catalog.db });
  await tables.prepare(SCHEMA_VERSION);
  await using snapshot = await before.catalog.snapshot();
  await tables.fill(snapshot.pages(), 'content');
  assert.deepEqual(await after.store.rules(), [{ ...rule, enabled: false }]);
});
