import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { signBundleStatement, verifyBundleStatement } from './bundle-statement.ts';
import { sealWith } from './envelope.ts';
import { KeyRing } from './key-ring.ts';
import { signTagStatement } from './tag-statement.ts';
import { TrustStore } from './trust-store.ts';

const STATEMENT = {
  fleetId: 'fleet-1',
  digest: digestOf(Buffer.from('a list')),
  size: 6,
  timeMs: 1_000,
};

function trustOf(ring: KeyRing): TrustStore {
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  return trust;
}

test('a bundle statement is believed from a bundle key of the fleet alone', () => {
  const ring = KeyRing.create(0);
  const trust = trustOf(ring);
  const key = ring.signingKey('bundle');
  const signed = signBundleStatement(STATEMENT, key);
  assert.deepEqual(verifyBundleStatement(signed, trust), STATEMENT);
  assert.throws(() => verifyBundleStatement(signed, trustOf(KeyRing.create(0))), {
    code: 'UNKNOWN_KEY',
  });
  assert.throws(() => signBundleStatement(STATEMENT, ring.signingKey('tag')), {
    code: 'WRONG_PURPOSE',
  });
  const forged = Buffer.from(signed);
  forged[20] = (forged[20] ?? 0) ^ 1;
  assert.throws(() => verifyBundleStatement(forged, trust));
  ring.revoke(key.keyId, 1);
  trust.load(ring.bundle());
  assert.throws(() => verifyBundleStatement(signed, trust), { code: 'REVOKED_KEY' });
});

test('what a retired bundle key signed counts, what was signed under another tag does not', () => {
  const ring = KeyRing.create(0);
  const key = ring.signingKey('bundle');
  const signed = signBundleStatement(STATEMENT, key);
  ring.retire('bundle', 1);
  const trust = trustOf(ring);
  assert.deepEqual(verifyBundleStatement(signed, trust), STATEMENT);
  const other = sealWith('flotilla/other/v1\0', Buffer.from('x'), key);
  assert.throws(() => verifyBundleStatement(other, trust), { code: 'BAD_SIGNATURE' });
  const tag = signTagStatement(
    { ...STATEMENT, namespace: 'hub', repository: 'team/app', tag: 'v1' },
    ring.signingKey('tag'),
  );
  assert.throws(() => verifyBundleStatement(tag, trust), { code: 'WRONG_PURPOSE' });
});
