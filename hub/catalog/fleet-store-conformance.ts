// What every store of the fleet must do, wherever it keeps its rows.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { CertificateRow, FleetStore } from '../fleet/store.ts';

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
    changed: serial,
    ...fields,
  };
}

const TOKEN = {
  tokenId: 'token-1',
  secretHash: Buffer.alloc(32, 7),
  expiresAtMs: 1000,
  usesLeft: 2,
};

async function put(store: FleetStore, row: CertificateRow): Promise<void> {
  await store.changeMembers((change) => change.put(row));
}

const CASES: Record<string, (store: FleetStore) => Promise<void>> = {
  'a setting is made once': async (store) => {
    assert.equal(await store.setting('fleet-id'), undefined);
    assert.equal(await store.settingOnce('fleet-id', 'a'), 'a');
    assert.equal(await store.settingOnce('fleet-id', 'b'), 'a');
    assert.equal(await store.setting('fleet-id'), 'a');
  },

  'serials only grow, and a change that is undone leaves nothing': async (store) => {
    assert.equal(await store.lastSerial(), 0);
    const next = () => store.changeMembers((change) => change.nextSerial());
    const serials = await Promise.all(Array.from({ length: 20 }, next));
    assert.equal(new Set(serials).size, 20);
    assert.equal(await store.lastSerial(), 20);
    const undone = store.changeMembers(async (change) => {
      await change.put(certificate(await change.nextSerial()));
      throw new Error('no');
    });
    await assert.rejects(undone, /no/);
    assert.deepEqual(await store.changesSince(0), []);
    assert.equal(await next(), 21);
  },

  'who follows changes by their numbers misses none': async (store) => {
    const followed = new Set<number>();
    let known = 0;
    const follow = async (): Promise<void> => {
      for (const { changed } of await store.changesSince(known)) {
        followed.add(changed);
        known = changed;
      }
    };
    const changes = Array.from({ length: 30 }, async () => {
      const serial = await store.changeMembers(async (change) => {
        const own = await change.nextSerial();
        await change.put(certificate(own));
        return own;
      });
      await follow();
      return serial;
    });
    const made = await Promise.all(changes);
    await follow();
    assert.deepEqual(followed, new Set(made));
  },

  'certificates come back as they were put, revoked where said': async (store) => {
    await put(store, certificate(1));
    await put(store, certificate(2));
    await put(store, certificate(3, { zone: 'z', addresses: [] }));
    const many = [1, ...Array.from({ length: 1500 }, (_, i) => i + 3)];
    await store.changeMembers((change) => change.revoke(many, { nowMs: 42, changed: 9 }));
    await store.changeMembers((change) => change.revoke([1], { nowMs: 43, changed: 10 }));
    const revoked = { revokedAtMs: 42, changed: 9 };
    assert.deepEqual(await store.changesSince(0), [
      certificate(2),
      certificate(1, revoked),
      certificate(3, { zone: 'z', addresses: [], ...revoked }),
    ]);
    assert.equal((await store.changesSince(8)).length, 2);
    await store.purge({ endedMs: certificate(1).notAfterMs, calledMs: 0 });
    assert.equal((await store.changesSince(0)).length, 3);
    await store.purge({ endedMs: certificate(1).notAfterMs + 1, calledMs: 0 });
    assert.deepEqual(await store.changesSince(0), []);
  },

  'of changes of the ring at once one counts': async (store) => {
    const [first, second] = ['a', 'b'].map((sealedWith) => ({
      serial: 1,
      sealedWith,
      sealed: 's',
    }));
    assert.ok(first && second);
    assert.equal(await store.sealedRing(), undefined);
    const made = await Promise.all(
      [first, second].map((ring) => store.replaceRing(ring, undefined)),
    );
    assert.deepEqual(new Set(made), new Set([true, false]));
    const ring = (await store.sealedRing()) ?? first;
    const later = { ...ring, serial: 2 };
    const tries = Array.from({ length: 5 }, () => store.replaceRing(later, ring));
    assert.equal((await Promise.all(tries)).filter(Boolean).length, 1);
    assert.equal(await store.replaceRing(later, { ...later, sealedWith: 'other' }), false);
    assert.deepEqual(await store.sealedRing(1), later);
    assert.equal(await store.sealedRing(2), undefined);
  },

  'a request is noted once, and forgotten when it is old': async (store) => {
    const note = (call: string, timeMs: number) =>
      store.changeMembers((change) => change.noteCall(call, 'peer', timeMs));
    assert.equal(await note('renew', 100), true);
    assert.equal(await note('renew', 100), false);
    assert.equal(await note('renew', 99), false);
    assert.equal(await note('enrol', 99), true);
    const both = await Promise.all([note('renew', 101), note('renew', 101)]);
    assert.deepEqual(new Set(both), new Set([false, true]));
    await store.purge({ endedMs: 0, calledMs: 102 });
    assert.equal(await note('renew', 100), true);
  },

  'a token counts down with the certificate, or neither happens': async (store) => {
    assert.equal(await store.putJoinToken(TOKEN, { nowMs: 0, max: 1 }), true);
    const enrol = (serial: number) =>
      store.changeMembers(async (change) => {
        await change.put(certificate(serial));
        const verdict = await change.useToken({ tokenId: TOKEN.tokenId, nowMs: 10 });
        if (verdict !== 'ok') throw new Error(verdict);
      });
    const ended = await Promise.allSettled([1, 2, 3].map(enrol));
    const failed = ended.filter(({ status }) => status === 'rejected');
    assert.equal(failed.length, 1);
    assert.equal((await store.changesSince(0)).length, 2);
    assert.deepEqual(await store.joinToken('token-1'), { ...TOKEN, usesLeft: 0 });
    const use = (nowMs: number) =>
      store.changeMembers((change) => change.useToken({ tokenId: TOKEN.tokenId, nowMs }));
    assert.equal(await use(10), 'used-up');
    assert.equal(await use(TOKEN.expiresAtMs), 'expired');
    assert.equal(await store.joinToken('token-2'), undefined);
  },

  'tokens are bounded, and old ones make room': async (store) => {
    assert.equal(await store.putJoinToken(TOKEN, { nowMs: 0, max: 1 }), true);
    const second = { ...TOKEN, tokenId: 'token-2', expiresAtMs: 9000 };
    assert.equal(await store.putJoinToken(second, { nowMs: 1000, max: 1 }), false);
    assert.equal(await store.putJoinToken(second, { nowMs: 1001, max: 1 }), true);
    assert.equal(await store.joinToken('token-1'), undefined);
  },

  'tokens that are made at once keep to the bound too': async (store) => {
    const made = Array.from({ length: 12 }, (_, i) =>
      store.putJoinToken({ ...TOKEN, tokenId: `token-${i}` }, { nowMs: 0, max: 5 }),
    );
    assert.equal((await Promise.all(made)).filter(Boolean).length, 5);
  },
};

/** Tests of the store of the fleet in one place; `open` gives an empty one. */
export function fleetStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<FleetStore>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => work(await open(t)));
  }
}
