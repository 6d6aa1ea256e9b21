import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodeRows, RowReader, type RowsHead } from './rows.ts';
import type { TablePage, Value } from './store.ts';

const HEAD: RowsHead = {
  schema: 7,
  fleetId: 'fleet-1',
  rootFingerprint: 'a'.repeat(64),
  build: '0.1.0',
  time: '2020-01-01T00:00:00.000Z',
};

const value: fc.Arbitrary<Value> = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.maxSafeInteger(),
  fc.constant(null),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
);

const table = fc.integer({ min: 1, max: 4 }).chain((width) =>
  fc.record({
    columns: fc.constant(Array.from({ length: width }, (_, i) => `column ${i}`)),
    rows: fc.array(fc.array(value, { minLength: width, maxLength: width }), { maxLength: 9 }),
  }),
);
const tables = fc
  .array(table, { maxLength: 4 })
  .map((list) => list.map((one, i): TablePage => ({ table: `table ${i}`, ...one })));

async function textOf(pages: readonly TablePage[]): Promise<Buffer> {
  async function* given(): AsyncGenerator<TablePage> {
    for (const { rows, ...page } of pages) {
      yield { ...page, rows: rows.slice(0, 2) };
      if (rows.length > 2) yield { ...page, rows: rows.slice(2) };
    }
  }
  let text = '';
  for await (const lines of encodeRows(HEAD, given())) text += lines;
  return Buffer.from(text);
}

async function* sliced(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(bytes: Buffer, size = 1000) {
  const reader = new RowReader(sliced(bytes, size));
  const head = await reader.head();
  const rows = new Map<string, Value[][]>();
  for await (const page of reader.pages()) {
    const known = rows.get(page.table) ?? [];
    rows.set(page.table, [...known, ...page.rows.map((row) => [...row])]);
  }
  return { head, rows, counts: reader.counts };
}

test('rows of any values come back, in whatever slices they are read', async () => {
  await fc.assert(
    fc.asyncProperty(tables, fc.integer({ min: 1, max: 99 }), async (pages, size) => {
      const { head, rows, counts } = await read(await textOf(pages), size);
      assert.deepEqual(head, HEAD);
      for (const page of pages) {
        assert.equal(counts[page.table], page.rows.length);
        assert.deepEqual(rows.get(page.table) ?? [], page.rows);
      }
    }),
    { numRuns: 50 },
  );
});

test('a text that is cut anywhere is damaged', async () => {
  await fc.assert(
    fc.asyncProperty(tables, fc.double({ min: 0, max: 1, noNaN: true }), async (pages, part) => {
      const bytes = await textOf(pages);
      const cut = bytes.subarray(0, Math.floor((bytes.length - 1) * part));
      await assert.rejects(read(cut), { code: 'BACKUP_DAMAGED' });
    }),
    { numRuns: 50 },
  );
});

test('rows that are gone or came behind the end are noticed', async () => {
  const page = { table: 'tag', columns: ['name'], rows: [['one'], ['two']] };
  const text = (await textOf([page])).toString();
  const less = Buffer.from(text.replace('["two"]\n', ''));
  await assert.rejects(read(less), { code: 'BACKUP_DAMAGED', message: /1 of 2 rows of tag/ });
  await assert.rejects(read(Buffer.from(`${text}["three"]\n`)), { code: 'BACKUP_DAMAGED' });
  const wide = Buffer.from(text.replace('["two"]', '["two",2]'));
  await assert.rejects(read(wide), { code: 'BACKUP_DAMAGED' });
  await assert.rejects(read(Buffer.from(text.replace('"format":1', '"format":9'))), /format 9/);
});
