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
    ...fields,
  };
}

const TOKEN = {
  tokenId: 'token-1',
  secretHash: Buffer.alloc(32, 7),
  expiresAtMs: 1000,
  usesLeft: 2,
};

/** Tests of the store of the fleet in one place; `open` gives an empty one. */
export function fleetStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<FleetStore>,
  options: { skip?: string | false } = {},
): void {
  const check = (promise: string, work: (store: FleetStore) => Promise<void>): void => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => work(await open(t)));
  };

  check('a setting is made once, serials only grow', async (store) => {
    assert.equal(await store.settingOnce('fleet-id', 'a'), 'a');
    assert.equal(await store.settingOnce('fleet-id', 'b'), 'a');
    assert.equal(await store.lastSerial(), 0);
    const serials = await Promise.all(Array.from({ length: 20 }, () => store.nextSerial()));
    assert.equal(new Set(serials).size, 20);
    assert.equal(await store.lastSerial(), Math.max(...serials));
  });

  check('certificates come back as they were put, revoked where said', async (store) => {
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

  check('a token counts down with the certificate, or neither happens', async (store) => {
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

  check('tokens are bounded, and old ones make room', async (store) => {
    assert.equal(await store.putJoinToken(TOKEN, { nowMs: 0, max: 1 }), true);
    const second = { ...TOKEN, tokenId: 'token-2', expiresAtMs: 9000 };
    assert.equal(await store.putJoinToken(second, { nowMs: 1000, max: 1 }), false);
    assert.equal(await store.putJoinToken(second, { nowMs: 1001, max: 1 }), true);
    assert.equal(await store.joinToken('token-1'), undefined);
  });

  check('tokens that are made at once keep to the bound too', async (store) => {
    const made = Array.from({ length: 12 }, (_, i) =>
      store.putJoinToken({ ...TOKEN, tokenId: `token-${i}` }, { nowMs: 0, max: 5 }),
    );
    assert.equal((await Promise.all(made)).filter(Boolean).length, 5);
  });
}
