// Lists cost what the page costs, however much else the catalog holds.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { Kysely, type CompiledQuery, type Dialect } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { fillStatements, REPOSITORY, SBOM, SUBJECT, tagOf } from '../../test/rig/full-catalog.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { scale } from '../../test/rig/scale.ts';
import { KyselyCatalog } from './kysely-catalog.ts';
import { openPostgresCatalog } from './postgres-catalog.ts';
import { postgresDialect } from './postgres-dialect.ts';
import type { RegistryTables } from './schema.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

const MANIFESTS = scale.catalogManifests;
const PAGES = [10, 100];
/** Rows that a list may touch besides those of its page, such as the one of the repository. */
const ROWS_BESIDES_MAX = 3;
const { skip, server: postgres } = postgresForTests();

type Read = {
  what: string;
  /** Reads one page of n; how many entries came. */
  page: (catalog: KyselyCatalog, n: number) => Promise<number | undefined>;
  /** Times that the rows of the page are read. */
  passes: number;
};

const MIDDLE = tagOf(MANIFESTS / 2);
const MIDDLE_DIGEST = digestAt(MANIFESTS / 2);
const WISH = { bytes: 10 ** 9 };

const READS: readonly Read[] = [
  {
    what: 'the first tags',
    page: async (catalog, n) => (await catalog.tags(REPOSITORY, { n }))?.length,
    passes: 1,
  },
  {
    what: 'tags from the middle',
    page: async (catalog, n) => (await catalog.tags(REPOSITORY, { n, last: MIDDLE }))?.length,
    passes: 1,
  },
  {
    what: 'the first repositories',
    page: async (catalog, n) => (await catalog.repositories({ n })).length,
    passes: 1,
  },
  {
    what: 'repositories from the middle',
    page: async (catalog, n) =>
      (await catalog.repositories({ n, last: `many/${tagOf(MANIFESTS / 20)}` })).length,
    passes: 1,
  },
  {
    what: 'the first referrers',
    page: async (catalog, n) => referrers(catalog, { n, ...WISH }),
    passes: 2,
  },
  {
    what: 'referrers from the middle',
    page: async (catalog, n) => referrers(catalog, { n, last: MIDDLE_DIGEST, ...WISH }),
    passes: 2,
  },
  {
    what: 'referrers of a type from the middle',
    page: async (catalog, n) =>
      referrers(catalog, { n, last: MIDDLE_DIGEST, artifactType: SBOM, ...WISH }),
    passes: 2,
  },
];

function digestAt(i: number): Digest {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made as the catalog is filled
  return `sha256:${i.toString(16).padStart(64, '0')}` as Digest;
}

async function referrers(
  catalog: KyselyCatalog,
  wish: Parameters<KyselyCatalog['referrers']>[2],
): Promise<number> {
  return (await catalog.referrers(REPOSITORY, SUBJECT, wish)).referrers.length;
}

/** A catalog that tells what it asks of its database. */
function observed(dialect: Dialect) {
  const queries: CompiledQuery[] = [];
  const log = (event: { query: CompiledQuery }): void => void queries.push(event.query);
  const db = new Kysely<RegistryTables>({ dialect, log });
  return { db, catalog: new KyselyCatalog({ db }), queries };
}

type Plan = {
  'Node Type': string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: Plan[];
};

function planOf([row]: Record<string, unknown>[]): Plan {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the format asked for
  const [{ Plan: plan }] = (row ?? {})['QUERY PLAN'] as [{ Plan: Plan }];
  return plan;
}

/** Rows that the leaves of a plan read, thrown away or not. */
function rowsTouched(plan: Plan): number {
  if (plan.Plans !== undefined) return plan.Plans.reduce((sum, one) => sum + rowsTouched(one), 0);
  const thrown =
    (plan['Rows Removed by Filter'] ?? 0) + (plan['Rows Removed by Index Recheck'] ?? 0);
  return (plan['Actual Rows'] + thrown) * plan['Actual Loops'];
}

function nodeTypes(plan: Plan): string[] {
  return [plan['Node Type'], ...(plan.Plans ?? []).flatMap(nodeTypes)];
}

test('PostgreSQL reads the page by an index, and no other rows', { skip }, async (t) => {
  const server = await postgres();
  const database = await server.createDatabase();
  const target = { ...server.target, database };
  await (await openPostgresCatalog(target)).close();
  await server.script(database, fillStatements('postgres', MANIFESTS));
  const { db, catalog, queries } = observed(postgresDialect(target));
  t.after(() => db.destroy());
  for (const { what, page, passes } of READS) {
    for (const n of PAGES) {
      queries.length = 0;
      // oxlint-disable-next-line no-await-in-loop -- the log is of one read
      assert.equal(await page(catalog, n), n, what);
      let rows = 0;
      for (const { sql: text, parameters } of queries) {
        const explain = `explain (analyze, timing off, format json) ${text}`;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        const plan = planOf(await server.query(database, explain, parameters));
        const types = new Set(nodeTypes(plan));
        for (const good of ['Limit', 'Index Scan', 'Index Only Scan']) types.delete(good);
        assert.deepEqual([...types], [], `${what}: ${text}`);
        rows += rowsTouched(plan);
      }
      assert.ok(rows <= passes * n + ROWS_BESIDES_MAX, `${what}: ${rows} rows for a page of ${n}`);
    }
  }
});

test('SQLite reads the page by an index, and no other rows', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-paging-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'catalog.sqlite');
  await (await openSqliteCatalog({ path: file })).close();
  const database = new DatabaseSync(file);
  t.after(() => database.close());
  for (const text of fillStatements('sqlite', MANIFESTS)) database.exec(text);
  const { db, catalog, queries } = observed(sqliteDialect({ path: file }));
  t.after(() => db.destroy());
  for (const { what, page } of READS) {
    for (const n of PAGES) {
      queries.length = 0;
      // oxlint-disable-next-line no-await-in-loop -- the log is of one read
      assert.equal(await page(catalog, n), n, what);
      for (const { sql: text, parameters } of queries) {
        const steps = database.prepare(`explain query plan ${text}`).all(...bound(parameters));
        assert.equal(steps.length, 1, `${what}: one table, nothing sorted: ${text}`);
        // Every condition bounds the walk through the index, and the page bounds its length.
        const conditions = parameters.length - (text.includes(' limit ') ? 1 : 0);
        const step = String(steps[0]?.['detail']);
        const walk = conditions === 0 ? /^SCAN .* USING COVERING INDEX/ : /^SEARCH .* INDEX .*\(/;
        assert.match(step, walk, `${what}: ${text}`);
        assert.equal(step.split('?').length - 1, conditions, `${what}: ${step}: ${text}`);
      }
    }
  }
});

function bound(parameters: readonly unknown[]): (string | number)[] {
  return parameters.filter((one) => typeof one === 'string' || typeof one === 'number');
}
