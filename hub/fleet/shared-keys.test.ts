// Hubs on one catalog have one root and the same keys, whoever changes them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { KyselyFleetStore, type FleetTables } from '../catalog/fleet-store.ts';
import { openPostgresCatalog } from '../catalog/postgres-catalog.ts';
import { SHARED_POLL_MS } from './constants.ts';
import { TestAgent, TestHub } from './fleet-fixture.ts';
import { KEY_RING_FILE, loadKeyRing } from './key-files.ts';
import { MemoryFleetStore } from './memory-store.ts';
import type { FleetStore } from './store.ts';

/** A way to the catalog, as each hub opens its own, and files of this test. */
type Rig = { t: TestContext; open: () => Promise<FleetStore>; folder: string };

type Start = {
  encryptionKeyFile?: string;
  previousEncryptionKeyFile?: string;
  keysDir?: string;
};

let files = 0;

async function newKey({ folder }: Rig): Promise<string> {
  const file = join(folder, `key-${++files}`);
  await writeFile(file, randomBytes(32).toString('hex'), { mode: 0o600 });
  return file;
}

async function start({ t, open }: Rig, { keysDir, ...keys }: Start = {}): Promise<TestHub> {
  const store = await open();
  const place = keysDir === undefined ? {} : { keysDir };
  return TestHub.start(t, { store, shared: true, config: { keys }, ...place });
}

function keyIdOf(hub: TestHub): string {
  return hub.fleet.tokenKeys.current().keyId.toString('hex');
}

const CASES: Record<string, (rig: Rig) => Promise<void>> = {
  'hubs that start at once on an empty catalog have the same keys': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    const starts = Array.from({ length: 5 }, () => start(rig, { encryptionKeyFile }));
    const hubs = await Promise.all(starts);
    assert.equal(new Set(hubs.map(({ fleet }) => fleet.rootFingerprint)).size, 1);
    assert.equal(new Set(hubs.map(keyIdOf)).size, 1);
    const sealed = (await (await rig.open()).sealedRing())?.sealed ?? '';
    assert.doesNotMatch(Buffer.from(sealed.slice(3), 'base64').toString(), /PRIVATE|root/);
  },

  'a key that one hub made verifies at the other when it is asked for': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    const a = await start(rig, { encryptionKeyFile });
    const b = await start(rig, { encryptionKeyFile });
    const old = keyIdOf(a);
    await a.fleet.rotateTokenKey();
    const fresh = keyIdOf(a);
    assert.notEqual(fresh, old);
    assert.equal(b.fleet.tokenKeys.find(fresh), undefined);
    await b.fleet.tokenKeys.look?.();
    assert.ok(b.fleet.tokenKeys.find(fresh));
    assert.equal(keyIdOf(b), fresh, 'and signs what the other signs from now on');
    assert.ok(b.fleet.tokenKeys.find(old), 'what the old key signed stays valid');
  },

  'a key that one hub made is known to the other after the poll': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    rig.t.mock.timers.enable({ apis: ['setInterval'] });
    const a = await start(rig, { encryptionKeyFile });
    const b = await start(rig, { encryptionKeyFile });
    await a.fleet.rotateTokenKey();
    rig.t.mock.timers.tick(SHARED_POLL_MS);
    while (keyIdOf(b) !== keyIdOf(a)) await new Promise(setImmediate);
    const bundles = [a, b].map((hub) => hub.send('GET', FLEET_PATHS.keys, Buffer.alloc(0)));
    const [first, second] = await Promise.all(bundles);
    assert.deepEqual(first?.body, second?.body, 'agents hear the same from both');
  },

  'keys changed at several hubs at once are all there in the end': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    const hubs = await Promise.all([1, 2, 3].map(() => start(rig, { encryptionKeyFile })));
    await Promise.all(hubs.map(({ fleet }) => fleet.rotateTokenKey()));
    const made = hubs.map(keyIdOf);
    assert.equal(new Set(made).size, 3);
    for (const { fleet } of hubs) {
      await fleet.tokenKeys.look?.();
      for (const keyId of made) assert.ok(fleet.tokenKeys.find(keyId));
    }
    assert.equal(new Set(hubs.map(keyIdOf)).size, 1);
  },

  'a hub that kept its keys in a file brings them, and its agents stay': async (rig) => {
    const keysDir = join(rig.folder, 'own-keys');
    const before = await start(rig, { keysDir });
    const agent = new TestAgent();
    await before.enrol(agent, 'node-1');
    const file = await readFile(join(keysDir, KEY_RING_FILE), 'utf8');
    const encryptionKeyFile = await newKey(rig);
    await assert.rejects(start(rig, { encryptionKeyFile }), (err: Error & { code: string }) => {
      assert.match(err.message, /start the one that has them first/);
      return err.code === 'KEYS_ELSEWHERE';
    });
    const a = await start(rig, { encryptionKeyFile, keysDir });
    const b = await start(rig, { encryptionKeyFile });
    b.wait(60_000);
    assert.equal(a.fleet.rootFingerprint, before.fleet.rootFingerprint);
    assert.equal(b.fleet.rootFingerprint, before.fleet.rootFingerprint);
    assert.equal((await b.call(agent, 'members')).status, 200);
    assert.equal(await readFile(join(keysDir, KEY_RING_FILE), 'utf8'), file, 'the file stays');
    await assert.rejects(start(rig, { keysDir }), { code: 'KEYS_ELSEWHERE' }, 'and is history');
  },

  'a hub with a root of its own does not start, and says what to do': async (rig) => {
    await start(rig);
    const other = join(rig.folder, 'other-keys');
    await mkdir(other);
    await loadKeyRing(other, 1000);
    await assert.rejects(start(rig, { keysDir: other }), (err: Error & { code: string }) => {
      assert.match(err.message, /not those of the fleet.*encryptionKeyFile/);
      assert.ok(err.message.includes(other) && !err.message.includes('\n'));
      return err.code === 'OTHER_ROOT';
    });
    const encryptionKeyFile = await newKey(rig);
    const moving = start(rig, { keysDir: other, encryptionKeyFile });
    await assert.rejects(moving, { code: 'OTHER_ROOT' });
    await assert.rejects(start(rig), { code: 'KEYS_ELSEWHERE' }, 'nor with none: not a new one');
  },

  'a hub without the key, or with another, does not start and changes nothing': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    await start(rig, { encryptionKeyFile });
    const store = await rig.open();
    const sealed = await store.sealedRing();
    const wrong = await newKey(rig);
    await assert.rejects(
      start(rig, { encryptionKeyFile: wrong }),
      (err: Error & { code: string }) => {
        assert.ok(err.message.includes(wrong), err.message);
        return err.code === 'WRONG_KEY';
      },
    );
    await assert.rejects(start(rig), { code: 'KEYS_ELSEWHERE' });
    assert.deepEqual(await store.sealedRing(), sealed);
  },

  'the key that encrypts the keys can be changed': async (rig) => {
    const first = await newKey(rig);
    const old = await start(rig, { encryptionKeyFile: first });
    const second = await newKey(rig);
    const keys = { encryptionKeyFile: second, previousEncryptionKeyFile: first };
    const [a, b] = await Promise.all([start(rig, keys), start(rig, keys)]);
    assert.equal(a.fleet.rootFingerprint, old.fleet.rootFingerprint);
    assert.ok(await start(rig, { encryptionKeyFile: second }));
    await b.fleet.rotateTokenKey();
    await a.fleet.tokenKeys.look?.();
    assert.equal(keyIdOf(a), keyIdOf(b));
    await assert.rejects(start(rig, { encryptionKeyFile: first }), { code: 'WRONG_KEY' });
    await assert.rejects(old.fleet.rotateTokenKey(), { code: 'WRONG_KEY' });
    assert.ok(old.fleet.tokenKeys.current(), 'a hub not yet started anew goes on with what it has');
  },

  'keys of another fleet, moved into the catalog, do not open': async (rig) => {
    const encryptionKeyFile = await newKey(rig);
    const store = await rig.open();
    await start(rig, { encryptionKeyFile });
    const ring = await store.sealedRing();
    assert.ok(ring);
    await store.replaceRing({ ...ring, serial: 7 }, ring);
    await assert.rejects(start(rig, { encryptionKeyFile }), { code: 'RING_DAMAGED' });
  },
};

const { skip, server } = postgresForTests();

async function inPostgres(t: TestContext): Promise<() => Promise<FleetStore>> {
  const own = await server();
  const database = await own.createDatabase();
  return async () => {
    const catalog = await openPostgresCatalog({ ...own.target, database });
    t.after(() => catalog.close());
    return new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() });
  };
}

async function inMemory(): Promise<() => Promise<FleetStore>> {
  const store = new MemoryFleetStore();
  return async () => store;
}

for (const { place, ways, reason } of [
  { place: 'in memory', ways: inMemory, reason: false },
  { place: 'in PostgreSQL', ways: inPostgres, reason: skip },
]) {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${place}: ${promise}`, { skip: reason }, async (t) => {
      const folder = await mkdtemp(join(tmpdir(), 'flotilla-shared-keys-'));
      t.after(() => rm(folder, { recursive: true, force: true }));
      await work({ t, open: await ways(t), folder });
    });
  }
}
