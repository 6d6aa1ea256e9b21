import { create, toBinary } from '@bufbuild/protobuf';
import { isIP } from 'node:net';
import { decodeMessage, safeNumber, seal, unseal, type EnvelopeKind } from './envelope.ts';
import { TrustError } from './errors.ts';
import type { SigningKey } from './keys.ts';
import { MembershipPayloadSchema } from './messages_pb.ts';
import { isPeerId } from './peer-id.ts';
import type { TrustStore } from './trust-store.ts';
import { checkValidity } from './validity.ts';

/** Largest encoded membership in bytes. */
export const MEMBERSHIP_MAX_BYTES = 4096;
/** Most addresses in a membership. */
export const MEMBERSHIP_ADDRESSES_MAX = 16;

const KIND: EnvelopeKind = {
  tag: 'flotilla/membership/v1\0',
  purpose: 'membership',
  maxBytes: MEMBERSHIP_MAX_BYTES,
};
const PORT_MAX = 65_535;
const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const NODE_PATTERN = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;
const ZONE_PATTERN = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** What the hub certifies about one agent. */
export type Membership = {
  fleetId: string;
  peerId: string;
  /** Name of the node, unique in the fleet. */
  node: string;
  /** '' when the hub does not know. */
  zone: string;
  /** IPv4 and IPv6 literals, the only ones at which this agent may be dialled. */
  addresses: string[];
  libp2pPort: number;
  /** 0 when the agent has no lane. */
  lanePort: number;
  /** Grows with every certificate the hub signs; revocations name it. */
  serial: number;
  notBeforeMs: number;
  notAfterMs: number;
};

/** True for a node name a membership may carry: a DNS-like name of up to 253 characters. */
export function isNodeName(text: string): boolean {
  return NODE_PATTERN.test(text);
}

/** True for a zone name a membership may carry: empty, or a label value of up to 63 characters. */
export function isZoneName(text: string): boolean {
  return ZONE_PATTERN.test(text);
}

function isPort(value: number, lowest: number): boolean {
  return Number.isInteger(value) && value >= lowest && value <= PORT_MAX;
}

function problemOf(m: Membership): string | undefined {
  if (!ID_PATTERN.test(m.fleetId)) return 'fleet id';
  if (!isPeerId(m.peerId)) return 'peer id';
  if (!isNodeName(m.node)) return 'node name';
  if (!isZoneName(m.zone)) return 'zone name';
  if (m.addresses.length > MEMBERSHIP_ADDRESSES_MAX) return 'number of addresses';
  if (m.addresses.some((address) => isIP(address) === 0 || address.includes('%'))) return 'address';
  if (!isPort(m.libp2pPort, 1)) return 'libp2p port';
  if (!isPort(m.lanePort, 0)) return 'lane port';
  if (!Number.isSafeInteger(m.serial) || m.serial < 1) return 'serial';
  if (!(m.notBeforeMs < m.notAfterMs)) return 'time window';
  return undefined;
}

function checkFields(membership: Membership): void {
  const problem = problemOf(membership);
  if (problem !== undefined) {
    throw new TrustError(`membership with invalid ${problem}`, { code: 'MALFORMED' });
  }
}

/** Signs a membership. Throws TrustError MALFORMED for invalid fields, WRONG_PURPOSE, TOO_LARGE. */
export function signMembership(
  membership: Membership,
  key: Pick<SigningKey, 'purpose' | 'keyId' | 'privateKey'>,
): Buffer {
  checkFields(membership);
  const payload = create(MembershipPayloadSchema, {
    ...membership,
    serial: BigInt(membership.serial),
    notBeforeMs: BigInt(membership.notBeforeMs),
    notAfterMs: BigInt(membership.notAfterMs),
  });
  return seal(KIND, toBinary(MembershipPayloadSchema, payload), key);
}

/**
 * Reads a membership and checks signature, fleet and time. The caller still checks that the peer
 * at the other end of the connection is `peerId`, and that `serial` is not revoked.
 * @throws TrustError TOO_LARGE, MALFORMED, UNKNOWN_KEY, REVOKED_KEY, WRONG_PURPOSE, BAD_SIGNATURE,
 *   WRONG_FLEET, NOT_YET_VALID, EXPIRED
 */
export function verifyMembership(
  bytes: Uint8Array,
  trust: Pick<TrustStore, 'verifyKey'>,
  options: { nowMs: number; graceMs?: number; fleetId: string },
): Membership {
  const payload = decodeMessage(MembershipPayloadSchema, unseal(KIND, bytes, trust));
  const membership: Membership = {
    fleetId: payload.fleetId,
    peerId: payload.peerId,
    node: payload.node,
    zone: payload.zone,
    addresses: payload.addresses,
    libp2pPort: payload.libp2pPort,
    lanePort: payload.lanePort,
    serial: safeNumber(payload.serial, 'membership serial'),
    notBeforeMs: safeNumber(payload.notBeforeMs, 'membership start'),
    notAfterMs: safeNumber(payload.notAfterMs, 'membership end'),
  };
  checkFields(membership);
  if (membership.fleetId !== options.fleetId) {
    throw new TrustError(`membership of fleet ${membership.fleetId}, not ${options.fleetId}`, {
      code: 'WRONG_FLEET',
    });
  }
  checkValidity(`membership of ${membership.node}`, membership, options);
  return membership;
}
