import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf, type Digest } from '../oci/digest.ts';
import {
  GRANT_DIGESTS_MAX,
  GRANT_MAX_MS,
  grantContentHash,
  HUB_NAMESPACE,
  signGrant,
  verifyGrant,
} from './grant.ts';
import { KeyRing } from './key-ring.ts';
import { peerIdFromPublicKey } from './peer-id.ts';
import { TrustStore } from './trust-store.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

const ring = KeyRing.create(0);
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const key = ring.signingKey('grant');
const START_MS = 1_700_000_000_000;
const alice = peerIdFromPublicKey(Buffer.alloc(32, 1));
const bob = peerIdFromPublicKey(Buffer.alloc(32, 2));
const digests = ['a', 'b', 'c'].map((text) => digestOf(Buffer.from(text)));
const open = {
  fleetId: 'fleet-1',
  peerId: '',
  namespace: HUB_NAMESPACE,
  repository: 'library/a',
  manifestDigest: digestOf(Buffer.from('manifest')),
  contentHash: grantContentHash(digests),
  issuedAtMs: START_MS,
  notAfterMs: START_MS + GRANT_MAX_MS,
};
const at = { nowMs: START_MS, fleetId: 'fleet-1', peerId: alice };

test('a public grant is good for every member, with its list in any order', () => {
  const bytes = signGrant(open, key);
  assert.deepEqual(verifyGrant(bytes, digests, trust, at), open);
  const shuffled = [...digests, ...digests].reverse();
  assert.deepEqual(verifyGrant(bytes, shuffled, trust, { ...at, peerId: bob }), open);
});

test('a personal grant is good for its peer only', () => {
  const bytes = signGrant({ ...open, peerId: alice }, key);
  assert.equal(verifyGrant(bytes, digests, trust, at).peerId, alice);
  const asBob = { ...at, peerId: bob };
  assert.throws(() => verifyGrant(bytes, digests, trust, asBob), { code: 'WRONG_AUDIENCE' });
});

test('a digest cannot be added to, taken from or exchanged in the list of a grant', () => {
  const bytes = signGrant(open, key);
  const more = digestOf(Buffer.from('secret'));
  for (const list of [[...digests, more], digests.slice(1), [...digests.slice(1), more], []]) {
    assert.throws(() => verifyGrant(bytes, list, trust, at), { code: 'HASHES_MISMATCH' });
  }
});

test('public grants expire too, and live on only for the grace of an outage', () => {
  const bytes = signGrant(open, key);
  const late = { ...at, nowMs: open.notAfterMs + CLOCK_SKEW_MS + 1 };
  assert.throws(() => verifyGrant(bytes, digests, trust, late), { code: 'EXPIRED' });
  assert.ok(verifyGrant(bytes, digests, trust, { ...late, graceMs: 60_000 }));
  const early = { ...at, nowMs: START_MS - CLOCK_SKEW_MS - 1 };
  assert.throws(() => verifyGrant(bytes, digests, trust, early), { code: 'NOT_YET_VALID' });
});

test('no grant is signed for longer than half an hour or for another fleet accepted', () => {
  const longer = { ...open, notAfterMs: START_MS + GRANT_MAX_MS + 1 };
  assert.throws(() => signGrant(longer, key), { code: 'MALFORMED' });
  const bytes = signGrant({ ...open, fleetId: 'fleet-2' }, key);
  assert.throws(() => verifyGrant(bytes, digests, trust, at), { code: 'WRONG_FLEET' });
});

test('any flipped byte is noticed', () => {
  const bytes = signGrant(open, key);
  for (let i = 0; i < bytes.length; i++) {
    const forged = Buffer.from(bytes);
    forged.writeUInt8((forged[i] ?? 0) ^ 1, i);
    assert.throws(() => verifyGrant(forged, digests, trust, at), { name: 'TrustError' });
  }
});

test('arbitrary bytes and overlong lists give nothing but a TrustError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      assert.throws(() => verifyGrant(bytes, digests, trust, at), { name: 'TrustError' });
    }),
  );
  const many = Array<Digest>(GRANT_DIGESTS_MAX + 1).fill(open.manifestDigest);
  assert.throws(() => verifyGrant(signGrant(open, key), many, trust, at), { code: 'TOO_LARGE' });
});
