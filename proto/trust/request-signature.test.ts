import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatJoinToken, joinSecretHash, newJoinToken, parseJoinToken } from './join-token.ts';
import { rawPublicKey } from './keys.ts';
import { peerIdFromPublicKey } from './peer-id.ts';
import { signRequest, verifyRequest } from './request-signature.ts';
import { CLOCK_SKEW_MS } from './validity.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const identity = { peerId: peerIdFromPublicKey(rawPublicKey(privateKey)), privateKey };
const NOW_MS = 1_700_000_000_000;
const request = { method: 'POST', path: '/api/fleet/v1/x?a=1', body: Buffer.from('{"a":1}') };

test('a signed request names its peer and its time', () => {
  const header = signRequest({ ...request, nowMs: NOW_MS }, identity);
  const found = verifyRequest(header, request, { nowMs: NOW_MS + 5 });
  assert.deepEqual(found, { peerId: identity.peerId, timeMs: NOW_MS });
});

test('another method, path, query or body does not carry the signature', () => {
  const header = signRequest({ ...request, nowMs: NOW_MS }, identity);
  const others = [
    { ...request, method: 'GET' },
    { ...request, path: '/api/fleet/v1/x' },
    { ...request, path: '/api/fleet/v1/x?a=2' },
    { ...request, body: Buffer.from('{"a":2}') },
  ];
  for (const other of others) {
    const check = (): unknown => verifyRequest(header, other, { nowMs: NOW_MS });
    assert.throws(check, { code: 'BAD_SIGNATURE' });
  }
});

test('a peer cannot sign for another, nor move its request in time', () => {
  const header = signRequest({ ...request, nowMs: NOW_MS }, identity);
  const other = peerIdFromPublicKey(rawPublicKey(generateKeyPairSync('ed25519').privateKey));
  const bad = { code: 'BAD_SIGNATURE' };
  const stolen = header.replace(identity.peerId, other);
  assert.throws(() => verifyRequest(stolen, request, { nowMs: NOW_MS }), bad);
  const moved = header.replace(String(NOW_MS), String(NOW_MS + 1));
  assert.throws(() => verifyRequest(moved, request, { nowMs: NOW_MS }), bad);
  const padded = header.replace(String(NOW_MS), `0${NOW_MS}`);
  assert.throws(() => verifyRequest(padded, request, { nowMs: NOW_MS }), bad);
});

test('a request outside of the clock skew is refused in both directions', () => {
  const header = signRequest({ ...request, nowMs: NOW_MS }, identity);
  const at = (nowMs: number) => (): unknown => verifyRequest(header, request, { nowMs });
  assert.throws(at(NOW_MS + CLOCK_SKEW_MS + 1), { code: 'EXPIRED' });
  assert.throws(at(NOW_MS - CLOCK_SKEW_MS - 1), { code: 'NOT_YET_VALID' });
  assert.ok(at(NOW_MS + CLOCK_SKEW_MS)());
});

test('any other header gives nothing but a TrustError', () => {
  const header = signRequest({ ...request, nowMs: NOW_MS }, identity);
  const text = fc.oneof(
    fc.string(),
    fc.constant(undefined),
    fc
      .tuple(fc.integer({ min: 0, max: header.length - 1 }), fc.string({ maxLength: 3 }))
      .filter(([at, s]) => header.slice(at, at + s.length + 1) !== s)
      .map(([at, s]) => header.slice(0, at) + s + header.slice(at + s.length + 1)),
  );
  fc.assert(
    fc.property(text, (input) => {
      assert.throws(() => verifyRequest(input, request, { nowMs: NOW_MS }), { name: 'TrustError' });
    }),
  );
});

test('a join token comes back with its fingerprint, and no error repeats its secret', () => {
  const token = newJoinToken('ab'.repeat(32));
  const text = formatJoinToken(token);
  assert.deepEqual(parseJoinToken(text), token);
  assert.equal(joinSecretHash(token.secret).length, 32);
  assert.throws(
    () => parseJoinToken(`${text}x`),
    (err: Error) => !err.message.includes(token.secret),
  );
});

test('arbitrary text is no join token', () => {
  const prefix = fc.string().map((text) => `flotilla-join.v1.${text}`);
  fc.assert(
    fc.property(fc.oneof(fc.string(), prefix), (text) => {
      assert.throws(() => parseJoinToken(text), { name: 'TrustError', code: 'MALFORMED' });
    }),
  );
});
