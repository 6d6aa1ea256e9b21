import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ContentHasher } from './content-hasher.ts';
import { LEAF_BYTES, layoutOf } from './layout.ts';
import { chunkHash, chunkHashesFromLeaves, HASH_BYTES, leafHash, merkleRoot } from './merkle.ts';

const DATA = randomBytes(6 * LEAF_BYTES);

function hashWhole(bytes: Buffer): { leaves: Buffer; root: Buffer; sha256: string } {
  const leaves: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += LEAF_BYTES) {
    leaves.push(leafHash(bytes.subarray(at, at + LEAF_BYTES)));
  }
  const row = Buffer.concat(leaves);
  const sha256 = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { leaves: row, root: merkleRoot(row), sha256 };
}

// Sizes near leaf borders are where a slicing mistake would show.
const SIZE = fc.oneof(
  fc.integer({ min: 0, max: DATA.length }),
  fc
    .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: -2, max: 2 }))
    .map(([leaves, off]) => leaves * LEAF_BYTES + off),
);
const CUTS = fc.array(fc.integer({ min: 1, max: 2 * LEAF_BYTES }), { minLength: 1, maxLength: 12 });

test('any slicing of a stream of any size gives the same leaves, root and digest', () => {
  fc.assert(
    fc.property(SIZE, CUTS, (size, cuts) => {
      const bytes = DATA.subarray(0, size);
      const hasher = new ContentHasher();
      for (let at = 0, i = 0; at < size; i++) {
        const step = cuts[i % cuts.length] ?? size;
        hasher.update(bytes.subarray(at, at + step));
        at += step;
      }
      const found = hasher.finish();
      const wanted = hashWhole(bytes);
      assert.equal(found.size, size);
      assert.equal(found.digests.sha256, wanted.sha256);
      assert.deepEqual(found.leaves, wanted.leaves);
      assert.deepEqual(found.root, wanted.root);
    }),
    { numRuns: 60 },
  );
});

test('single bytes and empty slices give what one slice gives', () => {
  const bytes = DATA.subarray(LEAF_BYTES - 3, LEAF_BYTES + 5);
  const hasher = new ContentHasher({ algorithms: ['sha256', 'sha512'] });
  for (const byte of bytes) {
    hasher.update(Buffer.of(byte));
    hasher.update(Buffer.alloc(0));
  }
  const found = hasher.finish();
  assert.deepEqual(found.leaves, hashWhole(bytes).leaves);
  const sha512 = createHash('sha512').update(bytes).digest('hex');
  assert.equal(found.digests.sha512, `sha512:${sha512}`);
});

test('the leaves of a pass fold into the hashes of the chunks themselves', () => {
  const size = 5 * LEAF_BYTES + 17;
  const bytes = DATA.subarray(0, size);
  const hasher = new ContentHasher();
  hasher.update(bytes);
  const layout = layoutOf(size);
  const row = chunkHashesFromLeaves(hasher.finish().leaves, layout);
  for (let i = 0; i < layout.chunkCount; i++) {
    const chunk = bytes.subarray(i * layout.chunkBytes, (i + 1) * layout.chunkBytes);
    assert.deepEqual(row.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES), chunkHash(chunk));
  }
});
