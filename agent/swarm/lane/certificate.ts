import type { PrivateKey } from '@libp2p/interface';
import { AsnConvert, OctetString as AsnOctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  Certificate,
  Extension,
  Extensions,
  Name,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { fromBER, OctetString, Sequence } from 'asn1js';
import {
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { publicKeyFromRaw } from '../../../proto/trust/keys.ts';
import { peerIdFromPublicKey } from '../../../proto/trust/peer-id.ts';
import { CLOCK_SKEW_MS } from '../../../proto/trust/validity.ts';
import { PeerError } from '../errors.ts';
import { LANE_CERTIFICATE_LIFE_MS, LANE_CERTIFICATE_MAX_BYTES } from './constants.ts';

/** libp2p Public Key Extension (libp2p TLS specification, section "Peer Authentication"). */
const LIBP2P_EXTENSION = '1.3.6.1.4.1.53594.1.1';
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
/** Extensions that may be critical without our reading them. */
const KNOWN_CRITICAL = new Set([LIBP2P_EXTENSION, '2.5.29.15', '2.5.29.19', '2.5.29.37']);
const HANDSHAKE_PREFIX = Buffer.from('libp2p-tls-handshake:');
/** libp2p's PublicKey message up to the key itself: type Ed25519, 32 bytes. */
const ED25519_MESSAGE_PREFIX = Buffer.from('08011220', 'hex');
const SERIAL_BYTES = 16;

export type LaneCertificate = { certPem: string; keyPem: string; notAfterMs: number };

/**
 * A self-signed certificate whose extension says which libp2p identity stands behind its fresh
 * P-256 key, as the libp2p TLS specification has it. `identity` must be an Ed25519 key.
 */
export async function createLaneCertificate(
  identity: PrivateKey,
  nowMs: number,
): Promise<LaneCertificate> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const proof = await identity.sign(Buffer.concat([HANDSHAKE_PREFIX, spki]));
  const notAfterMs = nowMs + LANE_CERTIFICATE_LIFE_MS;
  const tbs = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(),
    signature: new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 }),
    issuer: new Name([]),
    subject: new Name([]),
    validity: new Validity({
      notBefore: new Date(nowMs - CLOCK_SKEW_MS),
      notAfter: new Date(notAfterMs),
    }),
    subjectPublicKeyInfo: AsnConvert.parse(spki, SubjectPublicKeyInfo),
    extensions: new Extensions([identityExtension(identity.publicKey.raw, proof)]),
  });
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbs)), privateKey);
  const certificate = new Certificate({
    tbsCertificate: tbs,
    signatureAlgorithm: new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 }),
    signatureValue: bytesOf(signature),
  });
  return {
    certPem: new X509Certificate(Buffer.from(AsnConvert.serialize(certificate))).toString(),
    keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    notAfterMs,
  };
}

/**
 * The peer id the other side of a finished handshake has proved, with one certificate and no chain.
 * @throws PeerError PROTOCOL
 */
export function shownPeerId(socket: TLSSocket, nowMs: number): string {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || certificate.issuerCertificate !== undefined) {
    throw new PeerError('The lane peer must show one certificate.', { code: 'PROTOCOL' });
  }
  return peerIdOfCertificate(certificate.raw, nowMs);
}

/**
 * The peer id a lane certificate proves. The handshake itself has proved that the other side holds
 * the certificate's key; here everything else of the libp2p TLS specification is checked on the raw
 * bytes, because Node calls any certificate with libp2p's extension unauthorised.
 * @throws PeerError PROTOCOL
 */
export function peerIdOfCertificate(raw: Uint8Array, nowMs: number): string {
  try {
    return readPeerId(raw, nowMs);
  } catch (cause) {
    const text = 'The lane certificate of the peer does not prove a libp2p identity.';
    throw new PeerError(text, { code: 'PROTOCOL' }, { cause });
  }
}

function readPeerId(raw: Uint8Array, nowMs: number): string {
  if (raw.length > LANE_CERTIFICATE_MAX_BYTES) throw new Error('certificate too large');
  const certificate = new X509Certificate(raw);
  checkDates(certificate, nowMs);
  if (!certificate.verify(certificate.publicKey)) throw new Error('not signed by its own key');
  const { extensions } = AsnConvert.parse(raw, Certificate).tbsCertificate;
  const found = (extensions ?? []).filter((one) => one.extnID === LIBP2P_EXTENSION);
  const [extension] = found;
  if (extension === undefined || found.length > 1) throw new Error('no libp2p extension, or two');
  for (const { critical, extnID } of extensions ?? []) {
    if (critical && !KNOWN_CRITICAL.has(extnID)) throw new Error(`critical extension ${extnID}`);
  }
  return provenPeerId(new Uint8Array(extension.extnValue.buffer), certificate.publicKey);
}

function checkDates(certificate: X509Certificate, nowMs: number): void {
  const from = certificate.validFromDate.getTime() - CLOCK_SKEW_MS;
  const to = certificate.validToDate.getTime() + CLOCK_SKEW_MS;
  // Written so that a date which is no number fails too.
  if (!(nowMs >= from && nowMs <= to)) throw new Error('not valid at this time');
}

function provenPeerId(value: Uint8Array, certificateKey: KeyObject): string {
  const { result, offset } = fromBER(value);
  if (offset !== value.length || !(result instanceof Sequence)) throw new Error('no SignedKey');
  const [key, signature, ...rest] = result.valueBlock.value;
  if (!(key instanceof OctetString && signature instanceof OctetString) || rest.length > 0) {
    throw new Error('no SignedKey');
  }
  const message = Buffer.from(key.valueBlock.valueHexView);
  const raw = message.subarray(ED25519_MESSAGE_PREFIX.length);
  if (!message.subarray(0, ED25519_MESSAGE_PREFIX.length).equals(ED25519_MESSAGE_PREFIX)) {
    throw new Error('identity key is not Ed25519');
  }
  const spki = certificateKey.export({ format: 'der', type: 'spki' });
  const signed = Buffer.concat([HANDSHAKE_PREFIX, spki]);
  if (!verify(null, signed, publicKeyFromRaw(raw), signature.valueBlock.valueHexView)) {
    throw new Error('identity key did not sign the certificate key');
  }
  return peerIdFromPublicKey(raw);
}

function identityExtension(rawKey: Uint8Array, proof: Uint8Array): Extension {
  const key = Buffer.concat([ED25519_MESSAGE_PREFIX, rawKey]);
  const value = new Sequence({
    value: [
      new OctetString({ valueHex: bytesOf(key) }),
      new OctetString({ valueHex: bytesOf(proof) }),
    ],
  });
  return new Extension({
    extnID: LIBP2P_EXTENSION,
    critical: true,
    extnValue: new AsnOctetString(value.toBER()),
  });
}

/** A positive integer without a leading zero byte (RFC 5280 section 4.1.2.2). */
function serialNumber(): ArrayBuffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytesOf(bytes);
}

function bytesOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
