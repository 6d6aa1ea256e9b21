// What every catalog must do for backups, whatever database it is in.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { TablePage, Value } from '../backup/store.ts';
import { BACKUP_TABLES, TABLES_LEFT_OUT } from './backup-tables.ts';
import { digest as digestOf, manifest, type CatalogRig } from './catalog-fixture.ts';
import { SNAPSHOT_LARGE_ROWS, SNAPSHOTS_MAX } from './constants.ts';
import type { OpenCatalog } from './open-catalog.ts';
import { RestoredTables } from './restored-tables.ts';

type Check = (
  promise: string,
  work: (catalog: OpenCatalog, rig: CatalogRig) => Promise<void>,
) => void;

/** Tests of snapshots, and of putting them into another database of the kind. */
export function snapshotConformance(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  options: { skip?: string | false } = {},
): void {
  const check: Check = (promise, work) => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const own = await rig(t);
      await work(await own.open(), await rig(t));
    });
  };
  check('every table is in a backup, or left out for a reason', async ({ db }) => {
    const tables = (await db.introspection.getTables()).map(({ name }) => name);
    const known = [...BACKUP_TABLES.map(({ name }) => name), ...Object.keys(TABLES_LEFT_OUT)];
    assert.deepEqual(tables.toSorted(), known.toSorted());
  });
  check('a snapshot is of one moment, and nobody waits for it', async (catalog) => {
    for (let i = 0; i < 2 * SNAPSHOT_LARGE_ROWS; i += 1) await push(catalog, i);
    await using snapshot = await catalog.snapshot();
    const pages = snapshot.pages()[Symbol.asyncIterator]();
    await pages.next();
    for (let i = 0; i < 2 * SNAPSHOT_LARGE_ROWS; i += 1) await push(catalog, -1 - i);
    await catalog.removeBlobFrom('team/app', digest(1));
    await catalog.removeBlobFrom('team/app', digest(2));
    const rows = await rowsOf({ [Symbol.asyncIterator]: () => pages });
    assert.equal(rows.get('repository_blob')?.length, 2 * SNAPSHOT_LARGE_ROWS);
    assert.equal(rows.get('blob')?.length, 2 * SNAPSHOT_LARGE_ROWS);
  });
  check('a blob in quarantine is not in a snapshot', async (catalog) => {
    for (const i of [1, 2]) await push(catalog, i);
    await catalog.removeBlobFrom('team/app', digest(1));
    await using snapshot = await catalog.snapshot();
    const rows = await rowsOf(snapshot.pages());
    assert.deepEqual(
      rows.get('blob')?.map((row) => row['digest']),
      [digest(2)],
    );
  });
  check('few snapshots are read at a time', async (catalog) => {
    await using open = new AsyncDisposableStack();
    for (let i = 0; i < SNAPSHOTS_MAX; i += 1) open.use(await catalog.snapshot());
    await assert.rejects(catalog.snapshot(), { code: 'TOO_MANY_SNAPSHOTS' });
    await open.disposeAsync();
    await using another = await catalog.snapshot();
    assert.ok(another.schema > 0);
  });
  restoreChecks(check);
}

function restoreChecks(check: Check): void {
  check(
    'what a snapshot has is the same in the database it is put into',
    async (catalog, other) => {
      for (let i = 0; i < 2 * SNAPSHOT_LARGE_ROWS + 1; i += 1) await push(catalog, i);
      const tables = new RestoredTables({ db: other.connect() });
      await using snapshot = await catalog.snapshot();
      await tables.prepare(snapshot.schema);
      for (const which of ['content', 'rights'] as const) {
        await tables.fill(snapshot.pages(), which);
        // Once more: an attempt that was interrupted is made again.
        await tables.fill(snapshot.pages(), which);
      }
      await tables.finish();
      assert.equal(await tables.isEmpty(), false);
      const copy = await other.open();
      await using again = await copy.snapshot();
      assert.deepEqual(await rowsOf(again.pages()), await rowsOf(snapshot.pages()));
    },
  );
  check('rows that fit no table are refused, and none of them is put in', async (_, other) => {
    const tables = new RestoredTables({ db: other.connect() });
    assert.ok(await tables.isEmpty());
    await tables.prepare(1);
    for (const table of ['sqlite_master', 'tag; drop table tag', 'collector']) {
      const filled = tables.fill(
        endingWith({ table, columns: ['name'], rows: [['x']] }),
        'content',
      );
      await assert.rejects(filled, { code: 'ROWS_UNFIT' }, table);
    }
    const strange = { table: 'repository', columns: ['name', 'owner'], rows: [['x', 'y']] };
    await assert.rejects(tables.fill(endingWith(strange), 'content'), { code: 'ROWS_UNFIT' });
    assert.ok(await tables.isEmpty());
    await assert.rejects(tables.prepare(9999), { code: 'SCHEMA_TOO_NEW' });
  });
}

async function* endingWith(last: TablePage): AsyncGenerator<TablePage> {
  yield { table: 'repository', columns: ['name'], rows: [['team/app']] };
  yield last;
}

function digest(i: number) {
  return digestOf(`blob ${i}`);
}

async function push(catalog: OpenCatalog, i: number): Promise<void> {
  const hashes = Buffer.alloc(64, i);
  const chunks = i % 2 === 0 ? { root: hashes.subarray(32), hashes } : {};
  await catalog.addBlob({ digest: digest(i), size: 2 ** 40 + i, ...chunks }, 'team/app');
  const references = [{ digest: digest(i), kind: 'blob' }] as const;
  await catalog.putManifest(manifest(`manifest ${i}`, { references, tags: [`tag-${i}`] }));
}

/** The rows of each table, by column. */
async function rowsOf(
  pages: AsyncIterable<TablePage>,
): Promise<Map<string, Record<string, Value>[]>> {
  const tables = new Map<string, Record<string, Value>[]>();
  for await (const { table, columns, rows } of pages) {
    const known = tables.get(table) ?? [];
    const named = rows.map((row) => {
      const entries = columns.map((name, i): [string, Value] => {
        const value = row[i] ?? null;
        return [name, value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value];
      });
      return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
    });
    tables.set(table, [...known, ...named]);
  }
  return tables;
}
