import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestFromBytes, digestOf } from '../oci/digest.ts';
import { KeyRing } from '../trust/key-ring.ts';
import { TrustStore } from '../trust/trust-store.ts';
import { LEAF_BYTES } from './layout.ts';
import { HASH_BYTES } from './merkle.ts';
import { BATCH_LEAVES_MAX, BATCH_MAX_BYTES, signBatch, verifyBatch } from './provisional.ts';
import { signStatement, verifyStatement } from './statement.ts';

const ring = KeyRing.create(0);
const key = ring.signingKey('statement');
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const batch = {
  session: randomBytes(16),
  digest: digestOf(Buffer.from('a blob')),
  size: 9 * LEAF_BYTES + 3,
  state: 'running',
  release: 'readers',
  first: 2,
  leaves: randomBytes(3 * HASH_BYTES),
} as const;
const tag = Buffer.from('flotilla/provisional/v1\0', 'latin1');

const batches = fc
  .record({
    session: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    hash: fc.oneof(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
    ),
    leafCount: fc.integer({ min: 5, max: 2 ** 24 }),
    state: fc.constantFrom('running', 'stored', 'revoked'),
    release: fc.constantFrom('readers', 'swarm-only'),
    first: fc.nat(),
    count: fc.integer({ min: 0, max: 20 }),
  })
  .map(({ session, hash, leafCount, first, count, ...rest }) => {
    const from = first % leafCount;
    const leaves = Buffer.alloc(Math.min(count, leafCount - from) * HASH_BYTES, hash);
    const digest = digestFromBytes(hash.length === 32 ? 'sha256' : 'sha512', hash);
    const size = (leafCount - 1) * LEAF_BYTES + 1;
    return { ...rest, session: Buffer.from(session), digest, size, first: from, leaves };
  });

test('a batch comes back as it was signed', () => {
  fc.assert(
    fc.property(batches, (any) => {
      const bytes = signBatch(any, key);
      assert.ok(bytes.length <= BATCH_MAX_BYTES);
      assert.deepEqual(verifyBatch(bytes, trust), { ...any, keyId: key.keyId });
    }),
  );
});

test('the largest batch is not too large', () => {
  const digest = digestFromBytes('sha512', randomBytes(64));
  const leaves = randomBytes(BATCH_LEAVES_MAX * HASH_BYTES);
  const bytes = signBatch({ ...batch, digest, size: 2 ** 44, leaves }, key);
  assert.equal(bytes.length, BATCH_MAX_BYTES);
  assert.equal(verifyBatch(bytes, trust).leaves.length, leaves.length);
});

test('flipping any single bit of a batch is noticed', () => {
  const bytes = signBatch(batch, key);
  for (let at = 0; at < bytes.length * 8; at++) {
    const forged = Buffer.from(bytes);
    forged.writeUInt8((forged[at >> 3] ?? 0) ^ (1 << (at & 7)), at >> 3);
    assert.throws(() => verifyBatch(forged, trust), { name: 'TrustError' }, `bit ${at}`);
  }
});

test('only a statement key of this fleet signs batches', () => {
  assert.throws(() => signBatch(batch, ring.signingKey('grant')), { code: 'WRONG_PURPOSE' });
  const disguised = { ...ring.signingKey('grant'), purpose: 'statement' as const };
  assert.throws(() => verifyBatch(signBatch(batch, disguised), trust), { code: 'WRONG_PURPOSE' });
  const other = KeyRing.create(0).signingKey('statement');
  assert.throws(() => verifyBatch(signBatch(batch, other), trust), { code: 'UNKNOWN_KEY' });
  const posing = signBatch(batch, { ...other, keyId: key.keyId });
  assert.throws(() => verifyBatch(posing, trust), { code: 'BAD_SIGNATURE' });
});

test('a batch is no statement, and a statement no batch', () => {
  const bytes = signBatch(batch, key);
  assert.ok(bytes.subarray(0, tag.length).equals(tag));
  assert.throws(() => verifyStatement(bytes.subarray(0, 100), trust), { code: 'MALFORMED' });
  const { digest, size } = batch;
  const statement = signStatement({ digest, size, root: randomBytes(HASH_BYTES) }, key);
  assert.throws(() => verifyBatch(statement, trust), { code: 'MALFORMED' });
});

test('leaves are of the blob, whole, and not more than a batch may have', () => {
  const wrong = [
    { leaves: randomBytes(HASH_BYTES - 1) },
    { leaves: randomBytes(9 * HASH_BYTES) },
    { first: 11, leaves: Buffer.alloc(0) },
    { first: -1 },
    { first: 0.5 },
    { size: 2 ** 44, leaves: randomBytes((BATCH_LEAVES_MAX + 1) * HASH_BYTES) },
    { size: 4 * LEAF_BYTES, first: 0 },
    { session: randomBytes(15) },
  ];
  for (const part of wrong) assert.throws(() => signBatch({ ...batch, ...part }, key), RangeError);
});

test('arbitrary bytes give nothing but a TrustError', () => {
  const tail = fc.uint8Array({ maxLength: 400 });
  fc.assert(
    fc.property(tail, fc.boolean(), (bytes, tagged) => {
      const input = tagged ? Buffer.concat([tag, Buffer.of(0, 0, 1), bytes]) : bytes;
      assert.throws(() => verifyBatch(input, trust), { name: 'TrustError' });
    }),
  );
  const long = Buffer.alloc(BATCH_MAX_BYTES + 1);
  assert.throws(() => verifyBatch(long, trust), { code: 'TOO_LARGE' });
});
