// A collection costs what the garbage costs, however much else the catalog holds.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { Kysely, type CompiledQuery } from 'kysely';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { until } from '../../test/rig/until.ts';
import { KyselyGcStore } from '../catalog/gc-store.ts';
import { DatabaseCatalog } from '../catalog/open-catalog.ts';
import { openPostgresCatalog } from '../catalog/postgres-catalog.ts';
import type { RegistryTables } from '../catalog/schema.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { sqliteDialect } from '../catalog/sqlite-dialect.ts';
import { Collector } from './collector.ts';
import { createGcMetrics } from './metrics.ts';

const LIVE = 100_000;
const GARBAGE = 10;
/** Rows read for each piece of garbage: itself, its blob, what may use it, and its end. */
const ROWS_EACH_MAX = 40;
const CLOSED_MS = 30_000;
const { signal } = new AbortController();
const { skip, server: postgres } = postgresForTests();

/** Live blobs in one repository, each named by a manifest, and some that nothing names. */
function fill(numbers: (count: number) => string, hex: string): string[] {
  const digest = `'sha256:' || ${hex}`;
  const rows = numbers(LIVE + GARBAGE);
  const unused = `case when n > ${LIVE} then 1 else null end`;
  return [
    `insert into repository (name) values ('team/app')`,
    `insert into blob (digest, size) select ${digest}, 1000 from ${rows}`,
    `insert into repository_blob (repository, digest, unused_since_ms)
     select 'team/app', ${digest}, ${unused} from ${rows}`,
    `insert into manifest (repository, digest, media_type, bytes)
     select 'team/app', ${digest}, 'm', '' from ${numbers(LIVE)}`,
    `insert into manifest_reference (repository, manifest_digest, digest, kind)
     select 'team/app', ${digest}, ${digest}, 'blob' from ${numbers(LIVE)}`,
    `insert into tag (repository, name, digest)
     select 'team/app', 't' || n, ${digest} from ${numbers(LIVE)}`,
  ];
}

function collectorOver(store: KyselyGcStore): Collector {
  return new Collector(
    { graceMs: 0, quarantineMs: 0, untaggedMs: 0 },
    {
      store,
      blobs: { nameOf: async (digest) => digest, remove: async () => true },
      metrics: createGcMetrics(new MetricsRegistry({ prefix: 'flotilla_hub_' })),
      logger: createLogger({ level: 'silent', name: 'test' }),
    },
  );
}

test('PostgreSQL reads rows for the garbage alone', { skip }, async (t) => {
  const server = await postgres();
  const database = await server.createDatabase();
  const target = { ...server.target, database };
  await (await openPostgresCatalog(target)).close();
  const hex = `lpad(to_hex(n), 64, '0')`;
  for (const text of fill((count) => `generate_series(1, ${count}) as n`, hex)) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await server.query(database, text);
  }
  await server.query(database, 'analyze');
  const rowsRead = async (): Promise<number> => {
    // A connection tells what it read when it ends.
    await until('connections to end', CLOSED_MS, async () => {
      const text = `select 1 from pg_stat_activity
        where datname = $1 and pid <> pg_backend_pid() and backend_type = 'client backend'`;
      return (await server.query(database, text, [database])).length === 0 ? true : undefined;
    });
    const text = `select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows
      from pg_stat_user_tables`;
    return Number((await server.query(database, text))[0]?.['rows']);
  };
  const before = await rowsRead();
  const catalog = await openPostgresCatalog(target);
  const report = await collectorOver(new KyselyGcStore(catalog)).collect({}, { signal });
  await catalog.close();
  assert.deepEqual([report?.unlinked, report?.deleted], [GARBAGE, GARBAGE]);
  const read = (await rowsRead()) - before;
  t.diagnostic(`${read} rows read beside ${LIVE} live blobs`);
  assert.ok(read > 0 && read <= GARBAGE * ROWS_EACH_MAX, `${read} rows`);
});

function numbers(count: number): string {
  return `(with recursive c(n) as (select 1 union all select n + 1 from c where n < ${count})
      select n from c)`;
}

test('SQLite walks through no table and no index but to the garbage', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-gc-cost-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'catalog.sqlite');
  await (await openSqliteCatalog({ path: file })).close();
  const database = new DatabaseSync(file);
  t.after(() => database.close());
  for (const text of fill(numbers, `printf('%064x', n)`)) database.exec(text);
  const queries: CompiledQuery[] = [];
  const log = (event: { query: CompiledQuery }): void => void queries.push(event.query);
  const db = new Kysely<RegistryTables>({ dialect: sqliteDialect({ path: file }), log });
  t.after(() => db.destroy());
  const store = new KyselyGcStore(new DatabaseCatalog(db, { reader: () => db.withTables() }));
  const report = await collectorOver(store).collect({}, { signal });
  assert.deepEqual([report?.unlinked, report?.deleted], [GARBAGE, GARBAGE]);
  t.diagnostic(`${queries.length} statements beside ${LIVE} live blobs`);
  assert.ok(queries.length <= GARBAGE * ROWS_EACH_MAX, `${queries.length} statements`);
  for (const text of new Set(queries.map((query) => query.sql))) {
    if (!/^(select|update|delete|insert)/.test(text)) continue;
    const steps = database.prepare(`explain query plan ${text}`).all();
    for (const { detail } of steps) {
      // The rows of collections and of who collects are few, whatever else there is.
      const small = /(gc_run|collector|removed_link|CONSTANT ROW|SUBQUERY|TEMP B-TREE)/;
      if (small.test(String(detail))) continue;
      assert.doesNotMatch(String(detail), /^SCAN/, text);
    }
  }
});
