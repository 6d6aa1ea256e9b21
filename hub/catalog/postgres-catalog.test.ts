import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Kysely, sql, type Transaction } from 'kysely';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { until } from '../../test/rig/until.ts';
import { accessStoreConformance } from './access-conformance.ts';
import { KyselyAccessStore } from './access-store.ts';
import type { AccessTables } from './access-tables.ts';
import { manifest, REPOSITORY, type CatalogRig } from './catalog-fixture.ts';
import { catalogConformance } from './conformance.ts';
import { CONFLICT_ATTEMPTS_MAX } from './constants.ts';
import { fleetStoreConformance } from './fleet-store-conformance.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import { gcConformance } from './gc-conformance.ts';
import { jobStoreConformance } from './job-store-conformance.ts';
import type { JobTables } from './job-store.ts';
import { loginStoreConformance } from './login-conformance.ts';
import type { LoginTables } from './login-store.ts';
import { namedLeaseConformance } from './named-lease-conformance.ts';
import type { LeaseTables } from './named-lease.ts';
import { prefetchStoreConformance } from './prefetch-conformance.ts';
import { KyselyPrefetchStore, type PrefetchTables } from './prefetch-store.ts';
import { openPostgresCatalog } from './postgres-catalog.ts';
import { postgresDialect } from './postgres-dialect.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';
import { referrersConformance } from './referrers-conformance.ts';
import { replicationStoreConformance } from './replication-store-conformance.ts';
import type { ReplicationTables } from './replication-store.ts';
import { replicaStoreConformance } from './replica-store-conformance.ts';
import { KyselyReplicaStore, type ReplicaTables } from './replica-store.ts';
import type { RegistryTables } from './schema.ts';
import { snapshotConformance } from './snapshot-conformance.ts';
import { budgetStoreConformance, tableRig } from './upstream-budgets-conformance.ts';
import type { UpstreamBudgetTables } from './upstream-budgets.ts';
import { uploadStoreConformance } from './upload-store-conformance.ts';
import { KyselyUploadStore, type UploadTables } from './upload-store.ts';
import { upstreamStoreConformance } from './upstream-store-conformance.ts';
import { transact, type TransactOptions } from './transact.ts';
import { untaggedConformance } from './untagged-conformance.ts';

const BLOB = digestOf(Buffer.from('a blob'));
const WAIT_MS = 10_000;

const { skip, server: postgres } = postgresForTests();

async function rig(t: TestContext): Promise<CatalogRig & { target: PostgresPoolOptions }> {
  const server = await postgres();
  const database = await server.createDatabase();
  const target = { ...server.target, database };
  return {
    target,
    connect: () => {
      const db = new Kysely<RegistryTables>({ dialect: postgresDialect(target) });
      t.after(() => db.destroy());
      return db;
    },
    open: async () => {
      const catalog = await openPostgresCatalog(target);
      t.after(() => catalog.close());
      return catalog;
    },
  };
}

catalogConformance('in PostgreSQL', rig, { skip });
referrersConformance('in PostgreSQL', rig, { skip });
snapshotConformance('in PostgreSQL', rig, { skip });
gcConformance('in PostgreSQL', rig, { skip });
untaggedConformance('in PostgreSQL', rig, { skip });
accessStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return {
      store: new KyselyAccessStore({ db: db.withTables<AccessTables>() }),
      addRepository: async (name) => {
        await db.insertInto('repository').values({ name }).execute();
      },
    };
  },
  { skip },
);
fleetStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return new KyselyFleetStore({ db: db.withTables<FleetTables>() });
  },
  { skip },
);
replicaStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return new KyselyReplicaStore({ db: db.withTables<ReplicaTables>() });
  },
  { skip },
);

upstreamStoreConformance('in PostgreSQL', async (t) => (await rig(t)).open(), { skip });
uploadStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return new KyselyUploadStore({ shared: true }, { db: db.withTables<UploadTables>() });
  },
  { skip },
);

namedLeaseConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return db.withTables<LeaseTables>();
  },
  { skip },
);
budgetStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return tableRig(db.withTables<UpstreamBudgetTables>());
  },
  { skip },
);
jobStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return db.withTables<JobTables>();
  },
  { skip },
);
replicationStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return db.withTables<JobTables & ReplicationTables>();
  },
  { skip },
);
prefetchStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return new KyselyPrefetchStore({ db: db.withTables<PrefetchTables>() });
  },
  { skip },
);
loginStoreConformance(
  'in PostgreSQL',
  async (t) => {
    const { db } = await (await rig(t)).open();
    return db.withTables<LoginTables>();
  },
  { skip },
);

function lock(db: Transaction<RegistryTables>, name: string) {
  return db.updateTable('repository').set({ name }).where('name', '=', name).execute();
}

test('hubs that start at once make one schema', { skip }, async (t) => {
  const { open } = await rig(t);
  const all = await Promise.all(Array.from({ length: 5 }, () => open()));
  await all[0]?.addBlob({ digest: BLOB, size: 7 }, 'team/app');
  const found = await Promise.all(all.map((catalog) => catalog.blob(BLOB)));
  assert.deepEqual(
    found,
    all.map(() => ({ size: 7 })),
  );
});

test('a tag that a push moves meanwhile is deleted, and neither is undone', { skip }, async (t) => {
  const { open } = await rig(t);
  const catalog = await open();
  const to = manifest('to');
  await catalog.putManifest(to);
  await catalog.putManifest(manifest('from', { tags: ['v1'] }));
  const { deleting } = await catalog.db.transaction().execute(async (push) => {
    await push.updateTable('manifest').set({ media_type: OCI_MANIFEST }).execute();
    const begun = { deleting: catalog.deleteTag(REPOSITORY, 'v1') };
    await until('the deletion waits for the push', WAIT_MS, async () => {
      const waiting = sql`select 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      return (await waiting.execute(catalog.db)).rows[0];
    });
    // Refused at once if the deletion had it: each would wait for the other.
    await push.selectFrom('tag').selectAll().forUpdate().noWait().execute();
    await push.updateTable('tag').set({ digest: to.digest }).execute();
    return begun;
  });
  assert.equal(await deleting, true);
  assert.equal(await catalog.tagged(REPOSITORY, 'v1'), undefined);
});

test('transactions that wait for each other both end', { skip }, async (t) => {
  const { open } = await rig(t);
  const { db } = await open();
  await db
    .insertInto('repository')
    .values([{ name: 'a' }, { name: 'b' }])
    .execute();
  const both = Promise.withResolvers<void>();
  let arrived = 0;
  let runs = 0;
  const cross = (first: string, second: string) =>
    transact(db, async (trx) => {
      runs += 1;
      await lock(trx, first);
      arrived += 1;
      if (arrived === 2) both.resolve();
      await both.promise;
      await lock(trx, second);
    });
  await Promise.all([cross('a', 'b'), cross('b', 'a')]);
  assert.equal(runs, 3);
});

test('a single statement that met others is run again', { skip }, async (t) => {
  const { open } = await rig(t);
  const { db } = await open();
  await sql`create sequence attempts`.execute(db);
  // Sequences count on when the statement is undone.
  await sql`create function third() returns int as $$ begin
    if nextval('attempts') < 3 then raise exception using errcode = '40P01'; end if;
    return 3; end $$ language plpgsql`.execute(db);
  const { rows } = await sql<{ value: number }>`select third() as value`.execute(db);
  assert.deepEqual(rows, [{ value: 3 }]);
});

test('work under one lock goes one after the other, on all hubs', { skip }, async (t) => {
  const { open } = await rig(t);
  const hubs = await Promise.all([open(), open()]);
  const events: string[] = [];
  const work = (name: string, options: TransactOptions, index: number) =>
    transact(
      hubs[index % 2]?.db ?? hubs[0].db,
      async (db) => {
        events.push(`${name} begins`);
        await sql`select 1`.execute(db);
        await sql`select 1`.execute(db);
        events.push(`${name} ends`);
      },
      options,
    );
  await Promise.all(Array.from({ length: 8 }, (_, i) => work(`${i}`, { lock: 'a' }, i)));
  for (let at = 0; at < events.length; at += 2) {
    assert.equal(events[at]?.replace('begins', 'ends'), events[at + 1]);
  }
  events.length = 0;
  const inside = Promise.withResolvers<void>();
  await transact(
    hubs[0].db,
    async () => {
      await transact(hubs[1].db, async () => inside.resolve(), { share: 'b' });
      await inside.promise;
    },
    { share: 'b' },
  );
});

test('a transaction that always meets others is given up as an outage', { skip }, async (t) => {
  const { open } = await rig(t);
  const { db } = await open();
  let runs = 0;
  const conflict = transact(db, async (trx) => {
    runs += 1;
    await sql`do $$ begin raise exception using errcode = '40001'; end $$`.execute(trx);
  });
  await assert.rejects(conflict, { code: 'CATALOG_UNAVAILABLE' });
  assert.equal(runs, CONFLICT_ATTEMPTS_MAX);
});

test('every column of text is compared by bytes', { skip }, async (t) => {
  const { open, target } = await rig(t);
  await open();
  const columns = await (
    await postgres()
  ).query(
    target.database,
    `select table_name, column_name, collation_name from information_schema.columns
     where table_schema = 'public' and data_type = 'text'`,
  );
  assert.ok(columns.length > 10);
  assert.deepEqual(
    columns.filter((column) => column['collation_name'] !== 'C'),
    [],
  );
});
