import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { Kysely, SqliteDialect, type SqliteDatabase } from 'kysely';
import { MemoryFleetStore } from '../fleet/memory-store.ts';
import type { CertificateRow, FleetStore } from '../fleet/store.ts';
import { KyselyFleetStore, type FleetTables } from './fleet-store.ts';
import { down, up } from './migrations/0002-fleet.ts';

function isInput(value: unknown): value is SQLInputValue {
  return value === null || typeof value === 'string' || typeof value === 'number';
}

function databaseAt(path: string): SqliteDatabase {
  const database = new DatabaseSync(path);
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...parameters.filter(isInput)),
        run: (parameters) => statement.run(...parameters.filter(isInput)),
        iterate: (parameters) => statement.iterate(...parameters.filter(isInput)),
      };
    },
  };
}

async function openDatabase(t: TestContext): Promise<{ path: string; db: Kysely<FleetTables> }> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-catalog-'));
  const path = join(folder, 'catalog.sqlite');
  const db = new Kysely<FleetTables>({
    dialect: new SqliteDialect({ database: databaseAt(path) }),
  });
  t.after(async () => {
    await db.destroy();
    await rm(folder, { recursive: true, force: true });
  });
  await up(db);
  return { path, db };
}

const STORES: [string, (t: TestContext) => Promise<FleetStore>][] = [
  ['in memory', async () => new MemoryFleetStore()],
  ['in SQLite', async (t) => new KyselyFleetStore(await openDatabase(t))],
];

function certificate(serial: number, fields: Partial<CertificateRow> = {}): CertificateRow {
  return {
    serial,
    peerId: `peer-${serial}`,
    node: `node-${serial}`,
    zone: '',
    addresses: ['10.0.0.1', 'fd00::1'],
    libp2pPort: 7412,
    lanePort: 0,
    notBeforeMs: 1_700_000_000_000,
    notAfterMs: 1_700_600_000_000,
    revokedAtMs: undefined,
    certificate: Buffer.of(0, 1, 255),
    build: '0.1.0',
    ...fields,
  };
}

const TOKEN = {
  tokenId: 'token-1',
  secretHash: Buffer.alloc(32, 7),
  expiresAtMs: 1000,
  usesLeft: 2,
};

for (const [where, open] of STORES) {
  test(`${where}: a setting is made once, serials only grow`, async (t) => {
    const store = await open(t);
    assert.equal(await store.settingOnce('fleet-id', 'a'), 'a');
    assert.equal(await store.settingOnce('fleet-id', 'b'), 'a');
    assert.equal(await store.lastSerial(), 0);
    const serials = await Promise.all(Array.from({ length: 20 }, () => store.nextSerial()));
    assert.equal(new Set(serials).size, 20);
    assert.equal(await store.lastSerial(), Math.max(...serials));
  });

  test(`${where}: certificates come back as they were put, revoked where said`, async (t) => {
    const store = await open(t);
    assert.equal(await store.putCertificate(certificate(1), { revoke: [] }), 'ok');
    assert.equal(await store.putCertificate(certificate(2), { revoke: [1] }), 'ok');
    await store.putCertificate(certificate(3, { zone: 'z', addresses: [] }), { revoke: [] });
    const many = Array.from({ length: 1500 }, (_, i) => i + 3);
    await store.revoke(many, 42);
    assert.deepEqual(await store.certificates(), [
      certificate(1, { revokedAtMs: certificate(2).notBeforeMs }),
      certificate(2),
      certificate(3, { zone: 'z', addresses: [], revokedAtMs: 42 }),
    ]);
    await store.purge(certificate(1).notAfterMs);
    assert.equal((await store.certificates()).length, 3);
    await store.purge(certificate(1).notAfterMs + 1);
    assert.deepEqual(await store.certificates(), []);
  });

  test(`${where}: a token counts down with the certificate, or neither happens`, async (t) => {
    const store = await open(t);
    assert.equal(await store.putJoinToken(TOKEN, { nowMs: 0, max: 1 }), true);
    const token = { tokenId: TOKEN.tokenId, nowMs: 10 };
    const verdicts = await Promise.all(
      [1, 2, 3].map((serial) => store.putCertificate(certificate(serial), { revoke: [], token })),
    );
    assert.deepEqual(verdicts.sort(), ['ok', 'ok', 'used-up']);
    assert.equal((await store.certificates()).length, 2);
    assert.deepEqual(await store.joinToken('token-1'), { ...TOKEN, usesLeft: 0 });
    const late = { tokenId: TOKEN.tokenId, nowMs: TOKEN.expiresAtMs };
    const change = { revoke: [], token: late };
    assert.equal(await store.putCertificate(certificate(9), change), 'expired');
    assert.equal(await store.joinToken('token-2'), undefined);
  });

  test(`${where}: tokens are bounded, and old ones make room`, async (t) => {
    const store = await open(t);
    assert.equal(await store.putJoinToken(TOKEN, { nowMs: 0, max: 1 }), true);
    const second = { ...TOKEN, tokenId: 'token-2', expiresAtMs: 9000 };
    assert.equal(await store.putJoinToken(second, { nowMs: 1000, max: 1 }), false);
    assert.equal(await store.putJoinToken(second, { nowMs: 1001, max: 1 }), true);
    assert.equal(await store.joinToken('token-1'), undefined);
  });
}

test('what was stored in SQLite is there after the database was closed', async (t) => {
  const { path, db } = await openDatabase(t);
  const store = new KyselyFleetStore({ db });
  await store.putCertificate(certificate(1), { revoke: [] });
  const other = new Kysely<FleetTables>({
    dialect: new SqliteDialect({ database: databaseAt(path) }),
  });
  t.after(() => other.destroy());
  assert.equal((await new KyselyFleetStore({ db: other }).certificates()).length, 1);
});

test('the migration can be taken back', async (t) => {
  const { db } = await openDatabase(t);
  await down(db);
  assert.deepEqual(await db.introspection.getTables(), []);
});
