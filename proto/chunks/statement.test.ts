import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestFromBytes, digestOf } from '../oci/digest.ts';
import { KeyRing } from '../trust/key-ring.ts';
import { TrustStore } from '../trust/trust-store.ts';
import { LEAF_BYTES } from './layout.ts';
import { HASH_BYTES, merkleRoot } from './merkle.ts';
import {
  signStatement,
  STATEMENT_MAX_BYTES,
  verifyChunkHashes,
  verifyStatement,
} from './statement.ts';

const ring = KeyRing.create(0);
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const size = 5 * LEAF_BYTES + 3;
const row = randomBytes(6 * HASH_BYTES);
const fact = { digest: digestOf(Buffer.from('a blob')), size, root: merkleRoot(row) };

test('a statement comes back as it was signed, for both digest algorithms', () => {
  for (const digest of [fact.digest, digestFromBytes('sha512', randomBytes(64))]) {
    const bytes = signStatement({ ...fact, digest }, ring.signingKey('statement'));
    const keyId = ring.signingKey('statement').keyId;
    assert.deepEqual(verifyStatement(bytes, trust), { ...fact, digest, keyId });
  }
});

test('a statement begins with its domain tag, so that it is no other signed object', () => {
  const bytes = signStatement(fact, ring.signingKey('statement'));
  assert.equal(bytes.subarray(0, 23).toString('latin1'), 'flotilla/chunk-root/v1\0');
  assert.equal(bytes.readBigUInt64BE(23 + 1 + 32), BigInt(size));
});

test('flipping any single bit of a statement is noticed', () => {
  const bytes = signStatement(fact, ring.signingKey('statement'));
  for (let at = 0; at < bytes.length * 8; at++) {
    const forged = Buffer.from(bytes);
    forged.writeUInt8((forged[at >> 3] ?? 0) ^ (1 << (at & 7)), at >> 3);
    assert.throws(() => verifyStatement(forged, trust), { name: 'TrustError' }, `bit ${at}`);
  }
});

test('only a statement key of this fleet signs statements', () => {
  assert.throws(() => signStatement(fact, ring.signingKey('grant')), { code: 'WRONG_PURPOSE' });
  const disguised = { ...ring.signingKey('grant'), purpose: 'statement' as const };
  const underGrantKey = signStatement(fact, disguised);
  assert.throws(() => verifyStatement(underGrantKey, trust), { code: 'WRONG_PURPOSE' });
  const foreign = signStatement(fact, KeyRing.create(0).signingKey('statement'));
  assert.throws(() => verifyStatement(foreign, trust), { code: 'UNKNOWN_KEY' });
});

test('a key id that names our key does not carry a foreign signature', () => {
  const other = KeyRing.create(0).signingKey('statement');
  const forged = signStatement(fact, { ...other, keyId: ring.signingKey('statement').keyId });
  assert.throws(() => verifyStatement(forged, trust), { code: 'BAD_SIGNATURE' });
});

test('there are no statements about blobs too small to be chunked, or too large', () => {
  const key = ring.signingKey('statement');
  for (const wrong of [0, 4 * LEAF_BYTES, 2 ** 44 + 1, 1.5]) {
    assert.throws(() => signStatement({ ...fact, size: wrong }, key), RangeError);
  }
});

test('a row of chunk hashes holds only when it recomputes to the stated root', () => {
  assert.equal(verifyChunkHashes(row, fact).chunkCount, 6);
  const mismatch = { code: 'HASHES_MISMATCH' };
  for (let at = 0; at < row.length; at++) {
    const forged = Buffer.from(row);
    forged.writeUInt8((forged[at] ?? 0) ^ 1, at);
    assert.throws(() => verifyChunkHashes(forged, fact), mismatch);
  }
  assert.throws(() => verifyChunkHashes(row.subarray(HASH_BYTES), fact), mismatch);
  assert.throws(() => verifyChunkHashes(Buffer.concat([row, row]), fact), mismatch);
  assert.throws(() => verifyChunkHashes(merkleRoot(row), fact), mismatch);
  assert.throws(() => verifyChunkHashes(Buffer.alloc(0), { ...fact, size: 10 }), mismatch);
});

test('arbitrary bytes give nothing but a TrustError', () => {
  const tag = Buffer.from('flotilla/chunk-root/v1\0', 'latin1');
  const tail = fc.uint8Array({ maxLength: STATEMENT_MAX_BYTES + 10 });
  fc.assert(
    fc.property(tail, fc.boolean(), (bytes, tagged) => {
      const input = tagged ? Buffer.concat([tag, bytes]) : bytes;
      assert.throws(() => verifyStatement(input, trust), { name: 'TrustError' });
    }),
  );
});
