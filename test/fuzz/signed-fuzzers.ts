import { generateKeyPairSync } from 'node:crypto';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { HASH_BYTES, merkleRoot } from '../../proto/chunks/merkle.ts';
import { signBatch, verifyBatch } from '../../proto/chunks/provisional.ts';
import { signStatement, verifyChunkHashes, verifyStatement } from '../../proto/chunks/statement.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { signBundleStatement, verifyBundleStatement } from '../../proto/trust/bundle-statement.ts';
import { grantContentHash, signGrant, verifyGrant } from '../../proto/trust/grant.ts';
import { formatJoinToken, newJoinToken, parseJoinToken } from '../../proto/trust/join-token.ts';
import { verifyBundle } from '../../proto/trust/key-bundle.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { signMembership, verifyMembership } from '../../proto/trust/membership.ts';
import { isPeerId, peerIdFromPublicKey, publicKeyFromPeerId } from '../../proto/trust/peer-id.ts';
import { bodyHashOf, signReplicaCall, verifyReplicaCall } from '../../proto/trust/replica-call.ts';
import { signRequest, verifyRequest } from '../../proto/trust/request-signature.ts';
import { signTagStatement, verifyTagStatement } from '../../proto/trust/tag-statement.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import type { Fuzzer } from './campaign.ts';

const NOW_MS = 1_700_000_000_000;
const FLEET = 'fleet-1';
const ring = KeyRing.create(NOW_MS);
const trust = new TrustStore({ rootFingerprint: ring.fingerprint() });
trust.load(ring.bundle());
const { privateKey } = generateKeyPairSync('ed25519');
const peerId = peerIdFromPublicKey(rawPublicKey(privateKey));
const digest = digestOf(Buffer.from('blob'));
const digests = [digest, digestOf(Buffer.from('config'))];
const row = Buffer.alloc(6 * HASH_BYTES, 7);
const fact = { digest, size: 6 * LEAF_BYTES - 1, root: merkleRoot(row) };
const batch = {
  ...fact,
  session: Buffer.alloc(16, 9),
  state: 'running',
  release: 'readers',
  first: 1,
  leaves: row.subarray(0, 2 * HASH_BYTES),
} as const;
const request = { method: 'POST', path: '/x?y=1', body: Buffer.from('{}') };

const target = { method: 'POST', path: '/announce' };
const replicaCall = signReplicaCall(
  {
    ...target,
    from: { id: 'hub-a', joined: 3 },
    to: { id: 'hub-b', joined: 9 },
    sequence: 17,
    bodyHash: bodyHashOf(Buffer.from('{}')),
  },
  ring.signingKey('replica'),
  NOW_MS,
);

const replicaKeys = {
  keys: (keyId: string) => ring.verificationKey('replica', keyId),
  nowMs: NOW_MS,
};

const TRUST = ['TrustError'];

const membership = signMembership(
  {
    fleetId: FLEET,
    peerId,
    node: 'node-1',
    zone: 'a',
    addresses: ['10.0.0.1', 'fd00::1'],
    libp2pPort: 7412,
    lanePort: 7413,
    serial: 5,
    notBeforeMs: NOW_MS,
    notAfterMs: NOW_MS + 1000,
  },
  ring.signingKey('membership'),
);

const grant = signGrant(
  {
    fleetId: FLEET,
    peerId: '',
    namespace: 'hub',
    repository: 'team/app',
    manifestDigest: digest,
    contentHash: grantContentHash(digests),
    issuedAtMs: NOW_MS,
    notAfterMs: NOW_MS + 1000,
  },
  ring.signingKey('grant'),
);

const tagStatement = signTagStatement(
  {
    fleetId: FLEET,
    namespace: 'hub',
    repository: 'team/app',
    tag: 'v1',
    digest,
    timeMs: NOW_MS,
  },
  ring.signingKey('tag'),
);

const bundleStatement = signBundleStatement(
  { fleetId: FLEET, digest, size: 1000, timeMs: NOW_MS },
  ring.signingKey('bundle'),
);

function forged(name: string): never {
  throw new Error(`${name}: bytes were believed that the hub never signed`);
}

/** A decoder of one signed object: nothing but the very bytes of the corpus may be believed. */
function signed(name: string, genuine: Buffer, verify: (input: Buffer) => unknown): Fuzzer {
  return {
    name,
    corpus: [genuine],
    refusals: TRUST,
    run: (input) => {
      verify(input);
      if (!input.equals(genuine)) forged(name);
    },
  };
}

const clock = { nowMs: NOW_MS, fleetId: FLEET };

/** Fuzzers of everything that carries a signature or a secret. */
export const SIGNED_FUZZERS: Fuzzer[] = [
  signed('statement', signStatement(fact, ring.signingKey('statement')), (input) =>
    verifyStatement(input, trust),
  ),
  signed('provisional batch', signBatch(batch, ring.signingKey('statement')), (input) =>
    verifyBatch(input, trust),
  ),
  signed('membership', membership, (input) => verifyMembership(input, trust, clock)),
  signed('grant', grant, (input) => verifyGrant(input, digests, trust, { ...clock, peerId })),
  signed('tag statement', tagStatement, (input) => verifyTagStatement(input, trust, clock)),
  signed('bundle statement', bundleStatement, (input) => verifyBundleStatement(input, trust)),
  signed('key bundle', ring.bundle(), (input) => verifyBundle(input, ring.fingerprint())),
  signed('chunk hashes', row, (input) => verifyChunkHashes(input, fact)),
  signed(
    'request signature',
    Buffer.from(signRequest({ ...request, nowMs: NOW_MS }, { peerId, privateKey })),
    (input) => verifyRequest(input.toString('latin1'), request, { nowMs: NOW_MS }),
  ),
  signed('replica call', Buffer.from(replicaCall), (input) => {
    verifyReplicaCall(input.toString('latin1'), target, replicaKeys);
  }),
  {
    name: 'key ring file',
    corpus: [Buffer.from(ring.toPem())],
    refusals: TRUST,
    run: (input) => void KeyRing.fromPem(input.toString('utf8')).bundle(),
  },
  {
    name: 'join token',
    corpus: [Buffer.from(formatJoinToken(newJoinToken(ring.fingerprint())))],
    refusals: TRUST,
    run: (input) => {
      const text = input.toString('utf8');
      if (formatJoinToken(parseJoinToken(text)) !== text) throw new Error('two texts, one token');
    },
  },
  {
    name: 'peer id',
    corpus: [Buffer.from(peerId)],
    refusals: TRUST,
    run: (input) => {
      const text = input.toString('utf8');
      const back = peerIdFromPublicKey(rawPublicKey(publicKeyFromPeerId(text)));
      if (back !== text || !isPeerId(text)) throw new Error('two texts, one peer id');
    },
  },
];
