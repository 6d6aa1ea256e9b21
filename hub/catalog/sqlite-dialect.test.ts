import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { getHeapSpaceStatistics } from 'node:v8';
import { Kysely, sql } from 'kysely';
import { sqliteDialect } from './sqlite-dialect.ts';

type Tables = { item: { name: string; other: string } };

const ROWS = 100;
const PAGES = 300;
const WARM_UP_PAGES = 1500;
const SAMPLES = 9;
/** Less than half of what their objects would need. */
const LASTING_BYTES = 1024 * 1024;

function open(): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: sqliteDialect({ path: ':memory:' }) });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function lastingBytes(): number {
  const spaces = getHeapSpaceStatistics();
  return spaces.find((space) => space.space_name === 'old_space')?.space_used_size ?? 0;
}

test('what is in a catalog is not for everybody, whatever the folder', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-sqlite-'));
  t.after(() => rm(folder, { recursive: true }));
  await using db = new Kysely<Tables>({
    dialect: sqliteDialect({ path: path.join(folder, 'catalog.sqlite') }),
  });
  await sql`create table item (name text, other text)`.execute(db);
  const names = await readdir(folder);
  assert.deepEqual(
    names.toSorted(),
    ['', '-shm', '-wal'].map((end) => `catalog.sqlite${end}`),
  );
  const modes = await Promise.all(names.map(async (name) => stat(path.join(folder, name))));
  for (const { mode } of modes) assert.equal(mode & 0o007, 0);
});

test('a statement that is kept tells the columns of the table as it is now', async () => {
  await using db = open();
  await sql`create table item (name text, other text)`.execute(db);
  await db.insertInto('item').values({ name: 'a', other: 'b' }).execute();
  const all = db.selectFrom('item').selectAll();
  assert.deepEqual(await all.execute(), [{ name: 'a', other: 'b' }]);
  await sql`alter table item rename column other to more`.execute(db);
  assert.deepEqual(await all.execute(), [{ name: 'a', more: 'b' }]);
  await sql`alter table item add column last text`.execute(db);
  assert.deepEqual(await all.execute(), [{ name: 'a', more: 'b', last: null }]);
});

test('rows that were read are gone before a full collection of garbage', async () => {
  await using db = open();
  await sql`create table item (name text, other text)`.execute(db);
  const rows = Array.from({ length: ROWS }, (_, at) => ({ name: `tag-${at}`, other: '' }));
  await db.insertInto('item').values(rows).execute();
  const page = db.selectFrom('item').select('name').orderBy('name').limit(ROWS);
  const read = async (pages: number): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    for (let n = 0; n < pages; n += 1) assert.equal((await page.execute()).length, ROWS);
  };
  await read(WARM_UP_PAGES);
  const grown: number[] = [];
  for (let n = 0; n < SAMPLES; n += 1) {
    const before = lastingBytes();
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await read(PAGES);
    grown.push(lastingBytes() - before);
  }
  // A full collection may come into some of them.
  const usual = median(grown);
  assert.ok(usual < LASTING_BYTES, `${usual} bytes stayed of ${PAGES} pages`);
});
