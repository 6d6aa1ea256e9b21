import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { code } from '../test-fleet.ts';
import { createLaneCertificate, peerIdOfCertificate } from './certificate.ts';
import { LANE_CERTIFICATE_LIFE_MS } from './constants.ts';

const NOW_MS = Date.UTC(2030, 0, 1);
const HOUR_MS = 3_600_000;

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

async function fresh(nowMs = NOW_MS) {
  const key = await generateKeyPair('Ed25519');
  const { certPem } = await createLaneCertificate(key, nowMs);
  return { peerId: peerIdFromPrivateKey(key).toString(), raw: new X509Certificate(certPem).raw };
}

// Test vectors 1, 2 and 4 of the libp2p TLS specification.
const ED25519_VECTOR = hex(
  [
    '308201ae30820156a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13',
    '096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f3430',
    '3936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504',
    '051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c',
    '263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8',
    '173e55bd37e381569ea37c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb',
    '59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b',
    '6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd420',
    '6eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb489',
    '43ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed',
    '36a31b77',
  ].join(''),
);
const ECDSA_VECTOR = hex(
  [
    '308201f63082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13',
    '096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f3430',
    '3936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504',
    '051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c',
    '263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8',
    '173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b30',
    '59301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093',
    'a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8',
    'a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a02',
    '2100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d',
    '04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302',
    '206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a',
  ].join(''),
);
const FORGED_VECTOR = hex(
  [
    '308201f73082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13',
    '096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f3430',
    '3936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504',
    '051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c',
    '263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8',
    '173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b30',
    '59301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093',
    'a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8',
    'a1ad29f204473045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade728',
    '02206de96e2a5be9b6202adba24ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d',
    '0403020348003045022100e847f267f43717358f850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db',
    '022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3fd56eef0d0df',
  ].join(''),
);

test('a certificate of ours proves the peer id of the key behind it', async () => {
  const { peerId, raw } = await fresh();
  assert.equal(peerIdOfCertificate(raw, NOW_MS), peerId);
});

test('the published certificate proves the published peer id', () => {
  const published = '12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv';
  assert.equal(peerIdOfCertificate(ED25519_VECTOR, NOW_MS), published);
});

test('an identity that is not Ed25519, or did not sign, proves nothing', () => {
  assert.throws(() => peerIdOfCertificate(ECDSA_VECTOR, NOW_MS), code('PROTOCOL'));
  assert.throws(() => peerIdOfCertificate(FORGED_VECTOR, NOW_MS), code('PROTOCOL'));
});

test('a certificate holds from five minutes before it was made to its end', async () => {
  const { peerId, raw } = await fresh();
  assert.equal(peerIdOfCertificate(raw, NOW_MS + LANE_CERTIFICATE_LIFE_MS - 1_000), peerId);
  const late = NOW_MS + LANE_CERTIFICATE_LIFE_MS + HOUR_MS;
  assert.throws(() => peerIdOfCertificate(raw, late), code('PROTOCOL'));
  assert.throws(() => peerIdOfCertificate(raw, NOW_MS - HOUR_MS), code('PROTOCOL'));
});

test('no byte of a certificate can be changed, cut or added', async () => {
  const { peerId, raw } = await fresh();
  for (let at = 0; at < raw.length; at++) {
    const changed = Buffer.from(raw);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => peerIdOfCertificate(changed, NOW_MS), code('PROTOCOL'), `byte ${at}`);
    assert.throws(() => peerIdOfCertificate(raw.subarray(0, at), NOW_MS), code('PROTOCOL'));
  }
  const longer = Buffer.concat([raw, Buffer.alloc(20_000)]);
  assert.throws(() => peerIdOfCertificate(longer, NOW_MS), code('PROTOCOL'));
  assert.equal(peerIdOfCertificate(raw, NOW_MS), peerId);
});
