import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LEAF_BYTES, layoutOf } from './layout.ts';
import {
  chunkHash,
  chunkHashesFromLeaves,
  HASH_BYTES,
  leafHash,
  merkleRoot,
  nodeHash,
  rootFromChunkHashes,
} from './merkle.ts';

const MIB = 1024 ** 2;

// The reference tree of RFC 6962 implementations: eight leaves, and the root over the first n.
const REFERENCE_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const REFERENCE_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('roots of the published RFC 6962 reference tree come out, for every number of leaves', () => {
  const leaves = Buffer.concat(REFERENCE_LEAVES.map((hex) => leafHash(Buffer.from(hex, 'hex'))));
  for (const [count, root] of REFERENCE_ROOTS.entries()) {
    assert.equal(merkleRoot(leaves.subarray(0, count * HASH_BYTES)).toString('hex'), root);
  }
});

test('a node is the hash of its two children, in their order', () => {
  const [one, two] = [leafHash(Buffer.of(1)), leafHash(Buffer.of(2))];
  assert.deepEqual(merkleRoot(Buffer.concat([one, two])), nodeHash(one, two));
  assert.notDeepEqual(nodeHash(one, two), nodeHash(two, one));
});

test('the layout follows the size: 1 MiB chunks, 4 MiB above 1 GiB, never more than 16384', () => {
  assert.equal(layoutOf(4 * MIB).chunkCount, 0);
  assert.equal(layoutOf(4 * MIB + 1).chunkCount, 5);
  assert.equal(layoutOf(1024 * MIB).chunkCount, 1024);
  assert.deepEqual(layoutOf(1024 * MIB + 1).leavesPerChunk, 4);
  assert.equal(layoutOf(64 * 1024 * MIB).chunkCount, 16_384);
  assert.equal(layoutOf(64 * 1024 * MIB + 1).leavesPerChunk, 8);
  assert.equal(layoutOf(2 ** 44).chunkCount, 16_384);
  assert.throws(() => layoutOf(2 ** 44 + 1), RangeError);
  assert.throws(() => layoutOf(-1), RangeError);
});

test('chunk hashes recompute to the root of the leaves at every chunk size and any tail', () => {
  const leafCount = fc.integer({ min: 5, max: 400 });
  const power = fc.integer({ min: 0, max: 9 });
  fc.assert(
    fc.property(leafCount, power, fc.integer({ min: 1, max: LEAF_BYTES }), (count, k, tail) => {
      const leaves = randomBytes(count * HASH_BYTES);
      const leavesPerChunk = 2 ** k;
      const layout = {
        size: (count - 1) * LEAF_BYTES + tail,
        leafCount: count,
        leavesPerChunk,
        chunkBytes: leavesPerChunk * LEAF_BYTES,
        chunkCount: Math.ceil(count / leavesPerChunk),
      };
      const row = chunkHashesFromLeaves(leaves, layout);
      assert.deepEqual(rootFromChunkHashes(row, layout), merkleRoot(leaves));
    }),
  );
});

test('the hash of a chunk is the subtree over its leaves, whatever its tail', () => {
  for (const size of [1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES - 7, 4 * LEAF_BYTES]) {
    const bytes = randomBytes(size);
    const leaves: Buffer[] = [];
    for (let at = 0; at < size; at += LEAF_BYTES) {
      leaves.push(leafHash(bytes.subarray(at, at + LEAF_BYTES)));
    }
    assert.deepEqual(chunkHash(bytes), merkleRoot(Buffer.concat(leaves)));
  }
});

test('flipping any bit of a chunk changes its hash', () => {
  const bytes = randomBytes(2 * LEAF_BYTES + 5);
  const before = chunkHash(bytes);
  const position = fc.integer({ min: 0, max: bytes.length - 1 });
  fc.assert(
    fc.property(position, fc.integer({ min: 0, max: 7 }), (at, bit) => {
      bytes.writeUInt8((bytes[at] ?? 0) ^ (1 << bit), at);
      assert.notDeepEqual(chunkHash(bytes), before);
      bytes.writeUInt8((bytes[at] ?? 0) ^ (1 << bit), at);
    }),
    { numRuns: 40 },
  );
});
