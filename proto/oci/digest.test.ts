import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  digestAlgorithm,
  digestBytes,
  digestFromBytes,
  digestHex,
  digestOf,
  isDigest,
  parseDigest,
} from './digest.ts';

const algorithm = fc.constantFrom('sha256' as const, 'sha512' as const);

test('the digest of bytes is that of the platform, and its parts are found again', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), algorithm, (bytes, name) => {
      const digest = digestOf(bytes, name);
      const hex = createHash(name).update(bytes).digest('hex');
      assert.equal(digest, `${name}:${hex}`);
      assert.equal(digestAlgorithm(digest), name);
      assert.equal(digestHex(digest), hex);
      assert.equal(digestFromBytes(name, digestBytes(digest)), digest);
      assert.equal(parseDigest(digest), digest);
    }),
  );
});

test('the empty blob and the empty object have their well-known digests', () => {
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const object = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
  assert.equal(digestOf(Buffer.alloc(0)), `sha256:${empty}`);
  assert.equal(digestOf(Buffer.from('{}')), `sha256:${object}`);
});

test('anything that is nearly a digest is refused', () => {
  const hex = 'a'.repeat(64);
  const wrong = [
    '',
    'sha256:',
    hex,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}a`,
    `sha256:${hex.toUpperCase()}`,
    `SHA256:${hex}`,
    `sha256:${'g'.repeat(64)}`,
    `sha512:${hex}`,
    `sha256:${hex}${hex}`,
    `sha1:${'a'.repeat(40)}`,
    `blake3:${hex}`,
    `sha256-${hex}`,
    `sha256:${hex}\n`,
    ` sha256:${hex}`,
    `sha256%3A${hex}`,
    `sha256:../${'a'.repeat(61)}`,
  ];
  for (const text of wrong) {
    assert.equal(isDigest(text), false, text);
    assert.throws(() => parseDigest(text), { code: 'DIGEST_INVALID', status: 400 }, text);
  }
});

test('a hash of the wrong length is no digest', () => {
  for (const length of [0, 31, 33, 64]) {
    const make = (): unknown => digestFromBytes('sha256', Buffer.alloc(length));
    assert.throws(make, { code: 'DIGEST_INVALID' });
  }
});
