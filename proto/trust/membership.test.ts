import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KeyRing } from './key-ring.ts';
import { MEMBERSHIP_MAX_BYTES, signMembership, verifyMembership } from './membership.ts';
import { peerIdFromPublicKey } from './peer-id.ts';
import { TrustStore } from './trust-store.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

const ring = KeyRing.create(0);
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const key = ring.signingKey('membership');
const DAY_MS = 86_400_000;
const START_MS = 1_700_000_000_000;
const member = {
  fleetId: 'fleet-1',
  peerId: peerIdFromPublicKey(Buffer.alloc(32, 9)),
  node: 'worker-1.example',
  zone: 'zone-a',
  addresses: ['10.0.0.1', 'fd00::1'],
  libp2pPort: 7412,
  lanePort: 0,
  serial: 12,
  notBeforeMs: START_MS,
  notAfterMs: START_MS + 7 * DAY_MS,
};
const at = { nowMs: START_MS + 1000, fleetId: 'fleet-1' };

test('a membership comes back as it was signed', () => {
  assert.deepEqual(verifyMembership(signMembership(member, key), trust, at), member);
});

test('a membership is good within its time, five minutes of skew, and the outage grace', () => {
  const bytes = signMembership(member, key);
  const check = (nowMs: number, graceMs?: number): unknown =>
    verifyMembership(bytes, trust, {
      nowMs,
      fleetId: 'fleet-1',
      ...(graceMs === undefined ? {} : { graceMs }),
    });
  assert.ok(check(START_MS - CLOCK_SKEW_MS));
  assert.throws(() => check(START_MS - CLOCK_SKEW_MS - 1), { code: 'NOT_YET_VALID' });
  assert.ok(check(member.notAfterMs + CLOCK_SKEW_MS));
  assert.throws(() => check(member.notAfterMs + CLOCK_SKEW_MS + 1), { code: 'EXPIRED' });
  assert.ok(check(member.notAfterMs + DAY_MS, DAY_MS));
  assert.throws(() => check(member.notAfterMs + 2 * DAY_MS, DAY_MS), { code: 'EXPIRED' });
});

test('a membership of another fleet is refused', () => {
  const bytes = signMembership({ ...member, fleetId: 'fleet-2' }, key);
  assert.throws(() => verifyMembership(bytes, trust, at), { code: 'WRONG_FLEET' });
});

test('addresses are IP literals: no names, no zones of an interface, a bounded number', () => {
  const wrong = [
    ['peer.example'],
    ['10.0.0.1:80'],
    ['fe80::1%eth0'],
    ['10.0.0.1/8'],
    [''],
    Array.from({ length: 17 }, (_, i) => `10.0.0.${i}`),
  ];
  for (const addresses of wrong) {
    assert.throws(() => signMembership({ ...member, addresses }, key), { code: 'MALFORMED' });
  }
});

test('names, ports, serials and peer ids out of range are not signed', () => {
  const wrong = [
    { node: '' },
    { node: 'a/b' },
    { node: 'a\n' },
    { zone: 'a b' },
    { libp2pPort: 0 },
    { libp2pPort: 65_536 },
    { lanePort: -1 },
    { serial: 0 },
    { peerId: 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N' },
    { notAfterMs: START_MS },
    { notBeforeMs: Number.NaN },
  ];
  for (const change of wrong) {
    assert.throws(() => signMembership({ ...member, ...change }, key), { code: 'MALFORMED' });
  }
});

test('another key, or any flipped byte, is noticed', () => {
  assert.throws(() => signMembership(member, ring.signingKey('grant')), { code: 'WRONG_PURPOSE' });
  const bytes = signMembership(member, key);
  for (let i = 0; i < bytes.length; i++) {
    const forged = Buffer.from(bytes);
    forged.writeUInt8((forged[i] ?? 0) ^ 1, i);
    assert.throws(() => verifyMembership(forged, trust, at), { name: 'TrustError' }, `byte ${i}`);
  }
});

test('a payload signed as one kind of object is not another kind', () => {
  const grantKey = { ...ring.signingKey('grant'), purpose: 'membership' as const };
  const bytes = signMembership(member, grantKey);
  assert.throws(() => verifyMembership(bytes, trust, at), { code: 'WRONG_PURPOSE' });
});

test('arbitrary bytes give nothing but a TrustError, and too many are not even decoded', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.throws(() => verifyMembership(bytes, trust, at), { name: 'TrustError' });
    }),
  );
  const huge = Buffer.alloc(MEMBERSHIP_MAX_BYTES + 1);
  assert.throws(() => verifyMembership(huge, trust, at), { code: 'TOO_LARGE' });
});
