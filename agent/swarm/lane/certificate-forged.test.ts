import { generateKeyPair } from '@libp2p/crypto/keys';
import type { PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  Certificate,
  Extension,
  Extensions,
  SubjectPublicKeyInfo,
} from '@peculiar/asn1-x509';
import assert from 'node:assert/strict';
import {
  generateKeyPairSync,
  sign,
  X509Certificate,
  type KeyPairKeyObjectResult,
} from 'node:crypto';
import { test } from 'node:test';
import { code } from '../test-fleet.ts';
import { createLaneCertificate, peerIdOfCertificate } from './certificate.ts';

const LIBP2P_EXTENSION = '1.3.6.1.4.1.53594.1.1';
const ALGORITHMS = { ec: '1.2.840.10045.4.3.2', rsa: '1.2.840.113549.1.1.11' };

function bytesOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

async function genuine() {
  const identity = await generateKeyPair('Ed25519');
  const { certPem } = await createLaneCertificate(identity, Date.now());
  const raw = new X509Certificate(certPem).raw;
  const { extensions = [] } = AsnConvert.parse(raw, Certificate).tbsCertificate;
  const [proof] = extensions;
  assert.ok(proof);
  return { identity, raw, proof };
}

/** The proof of an identity for a TLS key, signed by that identity. */
async function proofFor(identity: PrivateKey, keys: KeyPairKeyObjectResult): Promise<Extension> {
  const spki = keys.publicKey.export({ format: 'der', type: 'spki' });
  const signature = await identity.sign(
    Buffer.concat([Buffer.from('libp2p-tls-handshake:'), spki]),
  );
  const key = Buffer.concat([Buffer.from('08011220', 'hex'), identity.publicKey.raw]);
  const parts = [key, signature].map((part) => Buffer.concat([Buffer.of(4, part.length), part]));
  const body = Buffer.concat(parts);
  return new Extension({
    extnID: LIBP2P_EXTENSION,
    critical: false,
    extnValue: new OctetString(bytesOf(Buffer.concat([Buffer.of(0x30, body.length), body]))),
  });
}

/** A genuine certificate with another key and other extensions, signed by `signer`. */
function forge(
  raw: Buffer,
  keys: KeyPairKeyObjectResult,
  extensions: Extension[],
  signer = keys,
): Buffer {
  const { tbsCertificate: tbs } = AsnConvert.parse(raw, Certificate);
  const kind = signer.privateKey.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec';
  const signatureAlgorithm = new AlgorithmIdentifier({
    algorithm: ALGORITHMS[kind],
    ...(kind === 'rsa' && { parameters: null }),
  });
  const spki = keys.publicKey.export({ format: 'der', type: 'spki' });
  tbs.subjectPublicKeyInfo = AsnConvert.parse(spki, SubjectPublicKeyInfo);
  tbs.signature = signatureAlgorithm;
  tbs.extensions = new Extensions(extensions);
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbs)), signer.privateKey);
  const signatureValue = bytesOf(signature);
  const forged = new Certificate({ tbsCertificate: tbs, signatureAlgorithm, signatureValue });
  return Buffer.from(AsnConvert.serialize(forged));
}

const ecKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsaKeys = () => generateKeyPairSync('rsa', { modulusLength: 2_048 });

function other(critical: boolean): Extension {
  return new Extension({
    extnID: '1.2.3.4.5',
    critical,
    extnValue: new OctetString(bytesOf(Buffer.of(5, 0))),
  });
}

function refused(raw: Buffer): void {
  // The forgery is a certificate that Node reads; what refuses it is our check.
  assert.ok(new X509Certificate(raw).publicKey);
  assert.throws(() => peerIdOfCertificate(raw, Date.now()), code('PROTOCOL'));
}

test('a TLS key of any kind, and extensions that may be ignored, are taken', async () => {
  const { identity, raw } = await genuine();
  const peerId = peerIdFromPrivateKey(identity).toString();
  for (const keys of [ecKeys(), rsaKeys()]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const proof = await proofFor(identity, keys);
    const certificate = forge(raw, keys, [other(false), proof]);
    assert.equal(peerIdOfCertificate(certificate, Date.now()), peerId);
  }
});

test('the proof of another peer is worth nothing beside our own key', async () => {
  const { raw, proof } = await genuine();
  refused(forge(raw, ecKeys(), [proof]));
});

test('two proofs, none, and a critical extension that nobody knows are refused', async () => {
  const { identity, raw, proof } = await genuine();
  const keys = ecKeys();
  const own = await proofFor(identity, keys);
  refused(forge(raw, keys, [proof, own]));
  refused(forge(raw, keys, [own, own]));
  refused(forge(raw, keys, [other(false)]));
  refused(forge(raw, keys, [own, other(true)]));
});

test('a certificate that another key signed is refused', async () => {
  const { identity, raw } = await genuine();
  const [keys, authority] = [ecKeys(), ecKeys()];
  const own = await proofFor(identity, keys);
  refused(forge(raw, keys, [own], authority));
  refused(forge(raw, keys, [own], rsaKeys()));
});
