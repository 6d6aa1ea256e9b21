import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { layoutOf } from '../chunks/layout.ts';
import { digestFromBytes, digestOf } from '../oci/digest.ts';
import { encodeDigest } from '../trust/digest-bytes.ts';
import { ChunkBitmap } from './bitmap.ts';
import { commonVersion, decodeHello, encodeHello } from './hello.ts';
import { RequestSchema, ResponseSchema } from './messages_pb.ts';
import { decodeRequest, encodeRequest, type SwarmRequest } from './request.ts';
import { decodeResponse, encodeResponse, type SwarmResponse } from './response.ts';

const digest = digestOf(Buffer.from('blob'));
const long = digestFromBytes('sha512', Buffer.alloc(64, 5));
const MIB = 1024 ** 2;
const bundle = { grant: Buffer.from('grant'), digests: [digest, long] };

const REQUESTS: SwarmRequest[] = [
  { id: 1, kind: 'openGrant', bundle },
  { id: 2, kind: 'have', digest, knownCount: 7, waitMs: 1000 },
  { id: 0, kind: 'getChunk', digest: long, index: 16_383 },
  { id: 3, kind: 'have', digest, knownCount: 0, waitMs: 0, session: Buffer.alloc(16, 3) },
  { id: 4, kind: 'getChunk', digest, index: 0, session: Buffer.alloc(16, 4) },
  { id: 2 ** 32 - 1, kind: 'getHashes', digest },
  { id: 5, kind: 'getStatement', digest },
  { id: 6, kind: 'getBlob', digest },
  { id: 7, kind: 'getGrant', namespace: 'hub', repository: 'library/a', digest },
  { id: 8, kind: 'getPeers', limit: 32 },
  { id: 9, kind: 'getTag', namespace: 'hub', repository: 'library/a', tag: 't'.repeat(128) },
  { id: 10, kind: 'unknown' },
];

function availability(size: number, complete: boolean): SwarmResponse {
  const { chunkCount } = layoutOf(size);
  const bitmap = complete ? ChunkBitmap.full(chunkCount) : new ChunkBitmap(chunkCount);
  const result = {
    kind: 'availability' as const,
    availability: { size, chunkCount, bitmap, complete },
  };
  return { id: 1, status: 'ok', bodyBytes: 0, result };
}

const RESPONSES: SwarmResponse[] = [
  { id: 9, status: 'ok', bodyBytes: 4 * MIB },
  { id: 9, status: 'noGrant', bodyBytes: 0 },
  { id: 9, status: 'ok', bodyBytes: 0, result: { kind: 'grant', bundle } },
  { id: 9, status: 'ok', bodyBytes: 0, result: { kind: 'peers', memberships: [Buffer.of(1)] } },
  availability(70 * MIB + 1, false),
  availability(70 * MIB + 1, true),
  availability(100, true),
];

test('every request and response comes back as it was sent', () => {
  for (const request of REQUESTS) assert.deepEqual(decodeRequest(encodeRequest(request)), request);
  for (const response of RESPONSES) {
    assert.deepEqual(decodeResponse(encodeResponse(response), 4 * MIB), response);
  }
  const hello = { membership: Buffer.of(1, 2), versionMin: 1, versionMax: 2, build: '0.1.0' };
  assert.deepEqual(decodeHello(encodeHello(hello)), hello);
});

function rawRequest(op: MessageInitShape<typeof RequestSchema>['op']): Uint8Array {
  return toBinary(
    RequestSchema,
    create(RequestSchema, { id: 1, ...(op === undefined ? {} : { op }) }),
  );
}

test('a request with a field out of range is refused', () => {
  const d = encodeDigest(digest);
  const wrong = [
    rawRequest({ case: 'getChunk', value: { digest: d, index: 16_384 } }),
    rawRequest({ case: 'getChunk', value: { digest: d, index: 0, session: Buffer.alloc(15) } }),
    rawRequest({ case: 'have', value: { digest: d, session: Buffer.alloc(17) } }),
    rawRequest({ case: 'getChunk', value: { digest: d, index: 2 ** 32 - 1 } }),
    rawRequest({ case: 'getChunk', value: { digest: d.subarray(1), index: 0 } }),
    rawRequest({
      case: 'getBlob',
      value: { digest: Buffer.concat([Buffer.of(3), d.subarray(1)]) },
    }),
    rawRequest({ case: 'have', value: { digest: d, knownCount: 0, waitMs: 1001 } }),
    rawRequest({ case: 'getPeers', value: { limit: 33 } }),
    rawRequest({ case: 'getGrant', value: { namespace: '', repository: 'a', digest: d } }),
    rawRequest({ case: 'getTag', value: { namespace: 'hub', repository: 'a', tag: '' } }),
    rawRequest({
      case: 'getTag',
      value: { namespace: 'hub', repository: 'a', tag: 't'.repeat(129) },
    }),
    rawRequest({
      case: 'openGrant',
      value: { grant: Buffer.of(1), digests: Array(10_001).fill(d) },
    }),
    // An index of -1 as protobuf writes a negative int32.
    Buffer.concat([
      Buffer.of(0x22, 2 + d.length + 11, 0x0a, d.length),
      d,
      Buffer.of(0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
    ]),
  ];
  for (const [i, bytes] of wrong.entries()) {
    assert.throws(() => decodeRequest(bytes), { name: 'SwarmError' }, `case ${i}`);
  }
});

test('a request of a kind that only a later version knows is read as such', () => {
  assert.deepEqual(decodeRequest(rawRequest(undefined)), { id: 1, kind: 'unknown' });
  // Field 4000, a message of three bytes.
  const later = Buffer.concat([rawRequest(undefined), Buffer.of(0x82, 0xfa, 0x01, 3, 1, 2, 3)]);
  assert.deepEqual(decodeRequest(later), { id: 1, kind: 'unknown' });
});

test('a response that claims more than was asked for is refused', () => {
  const four = encodeResponse({ id: 1, status: 'ok', bodyBytes: 4 * MIB });
  assert.throws(() => decodeResponse(four, 4 * MIB - 1), { code: 'BAD_MESSAGE' });
  const huge = create(ResponseSchema, { id: 1, status: 1, bodyBytes: 2n ** 64n - 1n });
  assert.throws(() => decodeResponse(toBinary(ResponseSchema, huge), 4 * MIB), {
    code: 'BAD_MESSAGE',
  });
});

test('availability must fit the size it names', () => {
  const wrong = [
    { size: BigInt(70 * MIB), chunkCount: 71, bitmap: Buffer.alloc(9), complete: false },
    { size: BigInt(70 * MIB), chunkCount: 70, bitmap: Buffer.alloc(10), complete: false },
    { size: BigInt(70 * MIB), chunkCount: 70, bitmap: Buffer.alloc(9, 255), complete: false },
    { size: BigInt(70 * MIB), chunkCount: 70, bitmap: Buffer.alloc(9), complete: true },
    { size: 2n ** 60n, chunkCount: 1, bitmap: Buffer.alloc(1), complete: false },
  ];
  for (const value of wrong) {
    const message = create(ResponseSchema, { status: 1, result: { case: 'availability', value } });
    const bytes = toBinary(ResponseSchema, message);
    assert.throws(() => decodeResponse(bytes, 0), { name: 'SwarmError' });
  }
});

test('two builds agree on the newest version both speak', () => {
  assert.equal(commonVersion({ versionMin: 1, versionMax: 9 }), 4);
  assert.equal(commonVersion({ versionMin: 1, versionMax: 1 }), 1, 'with the version before');
  assert.equal(commonVersion({ versionMin: 5, versionMax: 9 }), undefined);
  assert.equal(commonVersion({ versionMin: 0, versionMax: 0 }), undefined);
});

test('arbitrary bytes give nothing but a SwarmError', () => {
  const valid = [
    ...REQUESTS.map((request) => encodeRequest(request)),
    ...RESPONSES.map((response) => encodeResponse(response)),
  ];
  const mutated = fc
    .tuple(fc.constantFrom(...valid), fc.nat(), fc.nat(255))
    .map(([bytes, at, value]) => Buffer.from(bytes).fill(value, at % bytes.length));
  const input = fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated);
  const decoders = [decodeRequest, decodeHello, (b: Uint8Array) => decodeResponse(b, 100)];
  fc.assert(
    fc.property(input, fc.constantFrom(...decoders), (bytes, decode) => {
      try {
        decode(bytes);
      } catch (err) {
        assert.equal(err instanceof Error && err.name, 'SwarmError');
      }
    }),
    { numRuns: 3000 },
  );
});
