import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { Kysely } from 'kysely';
import { catalogConformance, type CatalogRig } from './conformance.ts';
import { fleetStoreConformance } from './fleet-store-conformance.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import { MemoryFleetStore } from '../fleet/memory-store.ts';
import { gcConformance } from './gc-conformance.ts';
import { namedLeaseConformance } from './named-lease-conformance.ts';
import type { LeaseTables } from './named-lease.ts';
import { referrersConformance } from './referrers-conformance.ts';
import type { RegistryTables } from './schema.ts';
import { snapshotConformance } from './snapshot-conformance.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import { untaggedConformance } from './untagged-conformance.ts';
import { uploadStoreConformance } from './upload-store-conformance.ts';
import { KyselyUploadStore, type UploadTables } from './upload-store.ts';

async function rig(t: TestContext): Promise<CatalogRig & { file: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-catalog-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'catalog.sqlite');
  return {
    file,
    connect: () => {
      const db = new Kysely<RegistryTables>({ dialect: sqliteDialect({ path: file }) });
      t.after(() => db.destroy());
      return db;
    },
    open: async () => {
      const catalog = await openSqliteCatalog({ path: file });
      t.after(() => catalog.close());
      return catalog;
    },
  };
}

catalogConformance('in SQLite', rig);
referrersConformance('in SQLite', rig);
snapshotConformance('in SQLite', rig);
gcConformance('in SQLite', rig, { alone: true });
untaggedConformance('in SQLite', rig, { alone: true });
fleetStoreConformance('in memory', async () => new MemoryFleetStore());
fleetStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return new KyselyFleetStore({ db: db.withTables<FleetTables>() });
});
uploadStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return new KyselyUploadStore({ shared: true }, { db: db.withTables<UploadTables>() });
});

namedLeaseConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return db.withTables<LeaseTables>();
});

test('programs that open a new file at once make one schema', async (t) => {
  const { file, open } = await rig(t);
  const program = `
    import { openSqliteCatalog } from ${JSON.stringify(import.meta.resolve('./sqlite-catalog.ts'))};
    const catalog = await openSqliteCatalog({ path: process.argv[1] });
    await catalog.close();`;
  const words = ['--input-type=module', '--eval', program, file];
  const starts = [1, 2, 3].map(() => promisify(execFile)(process.execPath, words));
  assert.equal((await Promise.all(starts)).length, 3);
  const catalog = await open();
  assert.deepEqual(await catalog.repositories({ n: 1 }), []);
});
