import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { DatabaseSync } from 'node:sqlite';
import { Kysely, sql } from 'kysely';
import type { CatalogRig } from './catalog-fixture.ts';
import { catalogConformance } from './conformance.ts';
import { fleetStoreConformance } from './fleet-store-conformance.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import { MemoryFleetStore } from '../fleet/memory-store.ts';
import { gcConformance } from './gc-conformance.ts';
import { jobStoreConformance } from './job-store-conformance.ts';
import type { JobTables } from './job-store.ts';
import { loginStoreConformance } from './login-conformance.ts';
import type { LoginTables } from './login-store.ts';
import { namedLeaseConformance } from './named-lease-conformance.ts';
import type { LeaseTables } from './named-lease.ts';
import { prefetchStoreConformance } from './prefetch-conformance.ts';
import { KyselyPrefetchStore, type PrefetchTables } from './prefetch-store.ts';
import { MemoryReplicaStore } from '../replicas/memory-store.ts';
import { referrersConformance } from './referrers-conformance.ts';
import { replicationStoreConformance } from './replication-store-conformance.ts';
import type { ReplicationTables } from './replication-store.ts';
import { replicaStoreConformance } from './replica-store-conformance.ts';
import { KyselyReplicaStore, type ReplicaTables } from './replica-store.ts';
import type { RegistryTables } from './schema.ts';
import { snapshotConformance } from './snapshot-conformance.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import { transact } from './transact.ts';
import { untaggedConformance } from './untagged-conformance.ts';
import { budgetStoreConformance, tableRig } from './upstream-budgets-conformance.ts';
import type { UpstreamBudgetTables } from './upstream-budgets.ts';
import { MemoryBudgets } from '../upstream/memory-budgets.ts';
import { uploadStoreConformance } from './upload-store-conformance.ts';
import { KyselyUploadStore, type UploadTables } from './upload-store.ts';
import { upstreamStoreConformance } from './upstream-store-conformance.ts';

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
upstreamStoreConformance('in SQLite', async (t) => (await rig(t)).open());
replicaStoreConformance('in memory', async () => new MemoryReplicaStore());
replicaStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return new KyselyReplicaStore({ db: db.withTables<ReplicaTables>() });
});

namedLeaseConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return db.withTables<LeaseTables>();
});
budgetStoreConformance('in memory', async () => {
  const clock = { now: 1e12 };
  const age = async (ms: number): Promise<void> => void (clock.now += ms);
  return { store: new MemoryBudgets({ now: () => clock.now }), age };
});
budgetStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return tableRig(db.withTables<UpstreamBudgetTables>());
});
prefetchStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return new KyselyPrefetchStore({ db: db.withTables<PrefetchTables>() });
});
jobStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return db.withTables<JobTables>();
});
replicationStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return db.withTables<JobTables & ReplicationTables>();
});
loginStoreConformance('in SQLite', async (t) => {
  const { db } = await (await rig(t)).open();
  return db.withTables<LoginTables>();
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

test('another program that writes for long is an outage that passes', async (t) => {
  const { file, open } = await rig(t);
  const catalog = await open();
  const writer = new DatabaseSync(file);
  t.after(() => writer.close());
  const patient = new Kysely<RegistryTables>({
    dialect: sqliteDialect({ path: file, busyMs: 20 }),
  });
  t.after(() => patient.destroy());
  const write = () =>
    transact(patient, (trx) => trx.insertInto('repository').values({ name: 'team/app' }).execute());
  writer.exec('BEGIN IMMEDIATE');
  await assert.rejects(write(), { code: 'CATALOG_UNAVAILABLE' });
  assert.deepEqual(await catalog.repositories({ n: 9 }), []);
  writer.exec('COMMIT');
  await write();
  assert.deepEqual(await catalog.repositories({ n: 9 }), ['team/app']);
});

test('a full disk is told as that, to all who shared a commit', async (t) => {
  const { connect, open } = await rig(t);
  const catalog = await open();
  const db = connect();
  await sql`pragma max_page_count = 1`.execute(db);
  const long = 'x'.repeat(100_000);
  const writes = ['a', `${long}b`, 'c', `${long}d`].map((name) =>
    transact(db, (trx) => trx.insertInto('repository').values({ name }).execute()),
  );
  const ends = await Promise.allSettled(writes);
  const codes = ends.map((end) => (end.status === 'rejected' ? end.reason.code : 'stored'));
  const stored = (await catalog.repositories({ n: 9 })).length;
  assert.equal(codes.filter((code) => code === 'stored').length, stored);
  assert.ok(
    codes.every((code) => code === 'stored' || code === 'CATALOG_FULL'),
    codes.join(),
  );
  assert.ok(codes.includes('CATALOG_FULL'));
});
