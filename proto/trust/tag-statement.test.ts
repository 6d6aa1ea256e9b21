import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from '../oci/digest.ts';
import { KeyRing } from './key-ring.ts';
import { signTagStatement, verifyTagStatement, type TagStatement } from './tag-statement.ts';
import { TrustStore } from './trust-store.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

const START_MS = 1_700_000_000_000;
const ring = KeyRing.create(0);
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const key = ring.signingKey('tag');
const at = { nowMs: START_MS, fleetId: 'fleet-1' };
const statement: TagStatement = {
  fleetId: 'fleet-1',
  namespace: 'hub',
  repository: 'team/app',
  tag: 'v1.0_x',
  digest: digestOf(Buffer.from('manifest')),
  timeMs: START_MS,
};

const part = fc.stringMatching(/^[a-z0-9]{1,20}$/);
const statements = fc.record(
  {
    fleetId: fc.constant('fleet-1'),
    namespace: fc.constantFrom('hub', 'quay.example:5000'),
    repository: fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/')),
    tag: fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/),
    digest: fc.string().map((text) => digestOf(Buffer.from(text), 'sha512')),
    timeMs: fc.integer({ min: 0, max: START_MS }),
  },
  { noNullPrototype: true },
);

test('what the hub states comes out as it went in, however long ago', () => {
  fc.assert(
    fc.property(statements, (one) => {
      assert.deepEqual(verifyTagStatement(signTagStatement(one, key), trust, at), one);
    }),
  );
});

test('no bit of a statement can be changed', () => {
  const bytes = signTagStatement(statement, key);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 7 }), (index, bit) => {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ (1 << bit);
      assert.throws(() => verifyTagStatement(changed, trust, at), { name: 'TrustError' });
    }),
  );
});

test('only the key for tags speaks about tags, and about its own fleet', () => {
  assert.throws(() => signTagStatement(statement, ring.signingKey('statement')), {
    code: 'WRONG_PURPOSE',
  });
  const other = KeyRing.create(0).signingKey('tag');
  const foreign = signTagStatement(statement, other);
  assert.throws(() => verifyTagStatement(foreign, trust, at), { code: 'UNKNOWN_KEY' });
  const bytes = signTagStatement(statement, key);
  const elsewhere = { ...at, fleetId: 'fleet-2' };
  assert.throws(() => verifyTagStatement(bytes, trust, elsewhere), { code: 'WRONG_FLEET' });
});

test('a revoked key speaks no more, a retired one does', () => {
  const own = KeyRing.create(0);
  const store = new TrustStore({ rootFingerprint: own.fingerprint() });
  const first = own.signingKey('tag');
  const bytes = signTagStatement(statement, first);
  own.retire('tag', 1);
  store.load(own.bundle());
  assert.deepEqual(verifyTagStatement(bytes, store, at), statement);
  own.revoke(first.keyId, 2);
  store.load(own.bundle());
  assert.throws(() => verifyTagStatement(bytes, store, at), { code: 'REVOKED_KEY' });
});

function stated(aheadMs: number): Buffer {
  return signTagStatement({ ...statement, timeMs: START_MS + aheadMs }, key);
}

test('a statement may be a little ahead of our clock, not far', () => {
  assert.ok(verifyTagStatement(stated(CLOCK_SKEW_MS), trust, at));
  assert.throws(() => verifyTagStatement(stated(CLOCK_SKEW_MS + 1), trust, at), {
    code: 'NOT_YET_VALID',
  });
});

test('what is no name is not stated', () => {
  for (const wrong of [
    { tag: 'v 1' },
    { tag: '' },
    { repository: 'Team/App' },
    { repository: '../app' },
    { namespace: '' },
    { fleetId: 'f'.repeat(256) },
    { timeMs: -1 },
    { timeMs: 0.5 },
  ]) {
    const broken = { ...statement, ...wrong };
    assert.throws(
      () => signTagStatement(broken, key),
      { code: 'MALFORMED' },
      JSON.stringify(wrong),
    );
  }
});
