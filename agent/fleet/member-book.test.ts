import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { hasCode } from '../../proto/std/errors.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { signMembership, type Membership } from '../../proto/trust/membership.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { LEARNED_MEMBERS_MAX } from './constants.ts';
import { MemberBook } from './member-book.ts';

const HOUR_MS = 3_600_000;

function newPeerId(): string {
  return peerIdFromPublicKey(rawPublicKey(generateKeyPairSync('ed25519').publicKey));
}

/** A book with the means to sign certificates for it. */
function bench() {
  const clock = { nowMs: 1_700_000_000_000, graceMs: 0 };
  const ring = KeyRing.create(clock.nowMs);
  const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
  trust.load(ring.bundle());
  const book = new MemberBook(
    { peerId: newPeerId(), now: () => clock.nowMs, graceMs: () => clock.graceMs },
    { trust, fleetId: () => 'fleet' },
  );
  const certificate = (peerId: string, overrides: Partial<Membership> = {}): Buffer =>
    signMembership(
      {
        fleetId: 'fleet',
        peerId,
        node: 'a-node',
        zone: '',
        addresses: ['127.0.0.1'],
        libp2pPort: 7412,
        lanePort: 0,
        serial: 1,
        notBeforeMs: clock.nowMs,
        notAfterMs: clock.nowMs + HOUR_MS,
        ...overrides,
      },
      ring.signingKey('membership'),
    );
  return { clock, ring, trust, book, certificate };
}

test('a membership ends with its time, and outlives it while the hub is silent', () => {
  const { clock, book, certificate } = bench();
  const peerId = newPeerId();
  book.learn(certificate(peerId));
  clock.nowMs += HOUR_MS + CLOCK_SKEW_MS - 1;
  assert.equal(book.list().length, 1);
  clock.nowMs += 1;
  assert.equal(book.get(peerId), undefined);
  clock.graceMs = HOUR_MS;
  assert.equal(book.get(peerId)?.membership.peerId, peerId);
});

test('the newer certificate of a peer wins, wherever it came from', () => {
  const { book, certificate } = bench();
  const peerId = newPeerId();
  const node = (): string | undefined => book.get(peerId)?.membership.node;
  const listed = certificate(peerId, { serial: 5, node: 'listed' });
  book.replace({ version: 1, memberships: [listed], revokedSerials: [] });
  book.learn(certificate(peerId, { serial: 4, node: 'older' }));
  assert.equal(node(), 'listed');
  book.learn(certificate(peerId, { serial: 6, node: 'newer' }));
  assert.equal(node(), 'newer');
  const newest = certificate(peerId, { serial: 7, node: 'newest' });
  book.replace({ version: 2, memberships: [newest], revokedSerials: [] });
  assert.equal(node(), 'newest');
});

test('a revoked serial is out at once and cannot be learned again', () => {
  const { book, certificate } = bench();
  const peerId = newPeerId();
  const bytes = certificate(peerId, { serial: 9 });
  book.learn(bytes);
  let changes = 0;
  using watch = book.onChange(() => changes++);
  void watch;
  book.replace({ version: 1, memberships: [], revokedSerials: [9] });
  assert.equal(changes, 1);
  assert.equal(book.get(peerId), undefined);
  assert.throws(
    () => book.learn(bytes),
    (err) => hasCode(err, 'REVOKED_KEY'),
  );
});

test('members certified by a key that was revoked are out after the new key bundle', () => {
  const { clock, ring, trust, book, certificate } = bench();
  const peerId = newPeerId();
  book.replace({ version: 1, memberships: [certificate(peerId)], revokedSerials: [] });
  ring.revoke(ring.signingKey('membership').keyId, clock.nowMs);
  trust.load(ring.bundle());
  book.reverify();
  assert.equal(book.get(peerId), undefined);
});

test('members learned from peers are bounded, those of the hub stay', () => {
  const { book, certificate } = bench();
  const listed = newPeerId();
  book.replace({ version: 1, memberships: [certificate(listed)], revokedSerials: [] });
  const first = newPeerId();
  book.learn(certificate(first, { serial: 2 }));
  for (let i = 0; i < LEARNED_MEMBERS_MAX; i++) {
    book.learn(certificate(newPeerId(), { serial: 3 + i }));
  }
  assert.equal(book.get(first), undefined);
  assert.ok(book.get(listed));
  assert.equal(book.list().length, LEARNED_MEMBERS_MAX + 1);
});

test('a certificate of another peer is not our own', () => {
  const { book, certificate } = bench();
  assert.throws(
    () => book.setOwn(certificate(newPeerId())),
    (err) => hasCode(err, 'WRONG_AUDIENCE'),
  );
  assert.equal(book.own, undefined);
});

test('what changed is added to the last snapshot, and the revoked leave it', () => {
  const { book, certificate } = bench();
  const [kept, gone, renewed, added] = [newPeerId(), newPeerId(), newPeerId(), newPeerId()];
  const memberships = [kept, gone, renewed].map((peerId, at) =>
    certificate(peerId, { serial: at + 1 }),
  );
  book.replace({ version: 3, memberships, revokedSerials: [] });
  const news = [certificate(renewed, { serial: 4 }), certificate(added, { serial: 5 })];
  const told = book.patch({
    version: 6,
    memberships: [...news, Buffer.from('no certificate')],
    revokedSerials: [2],
  });
  assert.deepEqual(told, { members: 3, refused: 1 });
  assert.equal(book.version, 6);
  const serials = book.list().map(({ serial }) => serial);
  assert.deepEqual(
    serials.toSorted((a, b) => a - b),
    [1, 4, 5],
  );
  assert.equal(book.get(gone), undefined);
  assert.equal(book.snapshot().memberships.length, 3);
});
