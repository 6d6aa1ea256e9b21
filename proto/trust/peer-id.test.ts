import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id';
import * as fc from 'fast-check';
import { decodeBase58, encodeBase58 } from './base58.ts';
import { publicKeyFromRaw, rawPublicKey } from './keys.ts';
import { isPeerId, peerIdFromPublicKey, publicKeyFromPeerId } from './peer-id.ts';

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

// RFC 8032 section 7.1, tests 1 to 3.
const VECTORS = [
  {
    secret: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155' +
      '5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    secret: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
      '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    secret: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac' +
      '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
];

test('the published Ed25519 vectors hold through our keys and peer ids', () => {
  for (const { secret, publicKey, message, signature } of VECTORS) {
    const der = Buffer.concat([PKCS8_PREFIX, Buffer.from(secret, 'hex')]);
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const raw = rawPublicKey(privateKey);
    assert.equal(raw.toString('hex'), publicKey);
    const bytes = Buffer.from(message, 'hex');
    assert.equal(sign(null, bytes, privateKey).toString('hex'), signature);
    const key = publicKeyFromPeerId(peerIdFromPublicKey(raw));
    assert.ok(verify(null, bytes, key, Buffer.from(signature, 'hex')));
    assert.ok(key.equals(createPublicKey(privateKey)));
  }
});

test('a peer id has the text that libp2p gives it, and libp2p reads ours', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (seed) => {
      const der = Buffer.concat([PKCS8_PREFIX, seed]);
      const raw = rawPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
      const theirs = peerIdFromPrivateKey(privateKeyFromRaw(Buffer.concat([seed, raw])));
      const ours = peerIdFromPublicKey(raw);
      assert.equal(ours, theirs.toString());
      assert.ok(peerIdFromString(ours).equals(theirs));
      assert.deepEqual(rawPublicKey(publicKeyFromPeerId(ours)), raw);
    }),
  );
});

test('a peer id of another kind of key, or any other text, is refused', () => {
  const good = peerIdFromPublicKey(Buffer.alloc(32, 7));
  const others = [
    'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
    `1${good.slice(1, -1)}`,
    `${good}1`,
    good.slice(0, -1),
    good.replace('K', '0'),
    '',
  ];
  for (const text of others) {
    assert.equal(isPeerId(text), false);
    assert.throws(() => publicKeyFromPeerId(text), { name: 'TrustError', code: 'MALFORMED' });
  }
  const text = fc.string({ maxLength: 60 });
  fc.assert(fc.property(text, (input) => !isPeerId(input)));
});

test('only raw keys of 32 bytes become keys', () => {
  assert.throws(() => publicKeyFromRaw(Buffer.alloc(31)), { code: 'MALFORMED' });
  assert.throws(() => peerIdFromPublicKey(Buffer.alloc(33)), { code: 'MALFORMED' });
});

test('base58 round-trips any bytes, leading zeros too', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 48 }), (bytes) => {
      assert.deepEqual(decodeBase58(encodeBase58(bytes)), Buffer.from(bytes));
    }),
  );
});
