import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { CompiledQuery, Kysely, sql } from 'kysely';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { findProgram } from '../../test/rig/requirements.ts';
import { postgresDialect } from './postgres-dialect.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';

const { skip, server: postgres } = postgresForTests();
const noTls = skip || (!findProgram('openssl') && 'needs openssl: see test/rig/install.sh');

type Tables = { item: { id: number } };

async function open(t: TestContext, options: Partial<PostgresPoolOptions> = {}) {
  const server = await postgres();
  const target = { ...server.target, database: 'postgres', ...options };
  const db = new Kysely<Tables>({ dialect: postgresDialect(target) });
  t.after(() => db.destroy());
  return db;
}

async function valueOf(db: Kysely<Tables>, text: string): Promise<unknown> {
  const { rows } = await db.executeQuery<{ value: unknown }>(CompiledQuery.raw(text));
  return rows[0]?.value;
}

test('numbers of 64 bits come back exact, or not at all', { skip }, async (t) => {
  const db = await open(t);
  assert.equal(await valueOf(db, 'select 9007199254740991::bigint as value'), 2 ** 53 - 1);
  assert.equal(await valueOf(db, 'select -1::bigint as value'), -1);
  assert.equal(await valueOf(db, 'select sum(x::bigint) as value from (values (1), (2)) v(x)'), 3);
  assert.equal(await valueOf(db, 'select count(*) as value from pg_class where false'), 0);
  const big = valueOf(db, 'select 9007199254740993::bigint as value');
  await assert.rejects(big, { name: 'RangeError', message: /9007199254740993/ });
});

test(
  'a server that stands still is given up in time, and used when it moves',
  { skip },
  async (t) => {
    const server = await postgres();
    const db = await open(t, { answerTimeoutMs: 300, connections: 2 });
    assert.equal(await valueOf(db, 'select 1 as value'), 1);
    await server.freeze();
    t.after(() => server.wake());
    const calls = Array.from({ length: 4 }, () => valueOf(db, 'select 1 as value'));
    for (const call of await Promise.allSettled(calls)) {
      assert.equal(call.status, 'rejected');
      assert.equal(call.reason.code, 'CATALOG_UNAVAILABLE');
    }
    await server.wake();
    assert.equal(await valueOf(db, 'select 1 as value'), 1);
  },
);

test('a connection that is lost in a transaction undoes it, and only it', { skip }, async (t) => {
  const server = await postgres();
  const db = await open(t, { database: await server.createDatabase() });
  await db.schema.createTable('item').addColumn('id', 'integer').execute();
  const work = db.transaction().execute(async (trx) => {
    await sql`insert into item values (1)`.execute(trx);
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
    await server.query('postgres', `select pg_terminate_backend(${rows[0]?.pid})`);
    await sql`insert into item values (2)`.execute(trx);
  });
  await assert.rejects(work, { code: 'CATALOG_UNAVAILABLE' });
  assert.equal(await valueOf(db, 'select count(*) as value from item'), 0);
});

test('a statement that runs too long is ended, a wrong one is no outage', { skip }, async (t) => {
  const db = await open(t, { statementTimeoutMs: 100 });
  await assert.rejects(valueOf(db, 'select pg_sleep(60) as value'), {
    code: 'CATALOG_UNAVAILABLE',
    message: /statement timeout/,
  });
  await assert.rejects(valueOf(db, 'select 1/0 as value'), { code: '22012' });
  assert.equal(await valueOf(db, 'select 2 as value'), 2);
});

test('a changed password file is used for the next connection', { skip }, async (t) => {
  const server = await postgres();
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-password-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const passwordFile = path.join(folder, 'password');
  await server.query('postgres', `create role guarded login password 'first'`);
  await writeFile(passwordFile, 'wrong\n');
  const db = await open(t, { user: 'guarded', passwordFile });
  await assert.rejects(valueOf(db, 'select 1 as value'), { code: 'CATALOG_UNAVAILABLE' });
  await writeFile(passwordFile, 'first\n');
  assert.equal(await valueOf(db, 'select 1 as value'), 1);
});

test('TLS only to the server whose certificate was signed as said', { skip: noTls }, async (t) => {
  const server = await postgres();
  const plain = await open(t, { tls: {} });
  await assert.rejects(valueOf(plain, 'select 1 as value'), { code: 'CATALOG_UNAVAILABLE' });
  const ca = await server.useTls();
  const inUse = 'select ssl as value from pg_stat_ssl where pid = pg_backend_pid()';
  assert.equal(await valueOf(await open(t, { tls: { ca } }), inUse), true);
  const stranger = await open(t, { tls: {} });
  await assert.rejects(valueOf(stranger, inUse), {
    code: 'CATALOG_UNAVAILABLE',
    message: /self-signed/,
  });
  const otherName = await open(t, { tls: { ca }, host: 'localhost' });
  await assert.rejects(valueOf(otherName, inUse), { message: /does not match certificate/ });
});

test('the Unix socket of a server works too', { skip }, async (t) => {
  const { socketFolder } = await postgres();
  const db = await open(t, { host: socketFolder });
  assert.equal(await valueOf(db, 'select 1 as value'), 1);
});
