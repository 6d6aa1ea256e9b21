import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BUNDLE_KEYS_MAX, BUNDLE_MAX_BYTES } from './key-bundle.ts';
import { KeyRing } from './key-ring.ts';
import { KEY_PURPOSES } from './keys.ts';
import { TrustStore } from './trust-store.ts';

function storeOf(ring: KeyRing): TrustStore {
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  return trust;
}

test('a ring survives being written and read: same keys, same bundle, same fingerprint', () => {
  const ring = KeyRing.create(1000);
  ring.retire('statement', 2000);
  ring.revoke(ring.signingKey('grant').keyId, 3000);
  const read = KeyRing.fromPem(ring.toPem());
  assert.deepEqual(read.bundle(), ring.bundle());
  assert.equal(read.fingerprint(), ring.fingerprint());
  assert.equal(read.serial, 3);
  for (const purpose of KEY_PURPOSES) {
    assert.deepEqual(read.signingKey(purpose).keyId, ring.signingKey(purpose).keyId);
  }
});

test('a ring with a damaged past key is not read as one without that key', () => {
  const ring = KeyRing.create(1000);
  ring.retire('statement', 2000);
  const text = ring.toPem();
  const at = text.indexOf('# statement retired');
  const damages = [
    text.slice(0, at) + text.slice(at).replace('BEGIN', 'BEGUN'),
    text.slice(0, at) + text.slice(at).replace('retired', 'retird'),
    text.slice(0, -10),
  ];
  for (const damaged of damages) {
    assert.throws(() => KeyRing.fromPem(damaged), { code: 'MALFORMED' });
  }
});

test('a retired key verifies, a revoked one does not, neither signs again', () => {
  const ring = KeyRing.create(0);
  const first = ring.signingKey('statement').keyId;
  ring.retire('statement', 1);
  const second = ring.signingKey('statement').keyId;
  assert.notDeepEqual(first, second);
  const trust = storeOf(ring);
  assert.ok(trust.verifyKey(first, 'statement'));
  ring.revoke(first, 2);
  ring.revoke(second, 3);
  trust.load(ring.bundle());
  for (const keyId of [first, second]) {
    assert.throws(() => trust.verifyKey(keyId, 'statement'), { code: 'REVOKED_KEY' });
  }
  assert.ok(trust.verifyKey(ring.signingKey('statement').keyId, 'statement'));
});

test('a key verifies for its own purpose only', () => {
  const ring = KeyRing.create(0);
  const trust = storeOf(ring);
  const { keyId } = ring.signingKey('membership');
  assert.ok(trust.verifyKey(keyId, 'membership'));
  assert.throws(() => trust.verifyKey(keyId, 'grant'), { code: 'WRONG_PURPOSE' });
  assert.throws(() => trust.verifyKey(Buffer.alloc(8), 'grant'), { code: 'UNKNOWN_KEY' });
});

test('an older bundle does not bring a revoked key back', () => {
  const ring = KeyRing.create(0);
  const old = ring.bundle();
  const { keyId } = ring.signingKey('grant');
  ring.revoke(keyId, 1);
  const trust = storeOf(ring);
  assert.throws(() => trust.load(old), { code: 'ROLLED_BACK' });
  assert.throws(() => trust.verifyKey(keyId, 'grant'), { code: 'REVOKED_KEY' });
  trust.load(ring.bundle());
  assert.equal(trust.serial, 2);
});

test('a bundle of another root is refused, and so is every altered bundle', () => {
  const ring = KeyRing.create(0);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  assert.throws(() => trust.load(KeyRing.create(0).bundle()), { code: 'UNKNOWN_KEY' });
  const bundle = ring.bundle();
  for (let at = 0; at < bundle.length; at++) {
    const forged = Buffer.from(bundle);
    forged.writeUInt8((forged[at] ?? 0) ^ 4, at);
    assert.throws(() => trust.load(forged), { name: 'TrustError' }, `byte ${at}`);
  }
  assert.equal(trust.serial, 0);
});

test('a full ring still fits into a bundle, and refuses one key more', () => {
  const ring = KeyRing.create(0);
  while (ring.serial < BUNDLE_KEYS_MAX - KEY_PURPOSES.length + 1) ring.retire('token', 1);
  assert.ok(ring.bundle().length <= BUNDLE_MAX_BYTES);
  assert.equal(storeOf(ring).serial, ring.serial);
  assert.throws(() => ring.retire('token', 2), RangeError);
});

test('arbitrary text is no ring and arbitrary bytes are no bundle', () => {
  const pem = KeyRing.create(0).toPem();
  const trust = new TrustStore({ rootFingerprint: '0'.repeat(64) });
  const text = fc.oneof(
    fc.string(),
    fc.integer({ min: 0, max: pem.length - 30 }).map((end) => pem.slice(0, end)),
  );
  fc.assert(
    fc.property(text, fc.uint8Array({ maxLength: 300 }), (input, bytes) => {
      assert.throws(() => KeyRing.fromPem(input), { name: 'TrustError' });
      assert.throws(() => trust.load(bytes), { name: 'TrustError' });
    }),
  );
  assert.throws(() => trust.load(Buffer.alloc(BUNDLE_MAX_BYTES + 1)), { code: 'TOO_LARGE' });
});
