// A node of a fleet without a network of its own: a key, and requests to a real hub.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { checkBody } from '../../proto/hubapi/body.ts';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { EnrolResponse, KeysResponse } from '../../proto/hubapi/schemas.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { verifyMembership, type Membership } from '../../proto/trust/membership.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { signRequest } from '../../proto/trust/request-signature.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import type { TestHub } from '../registry/test-hub.ts';

const ENDPOINT = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };

type Reply = { status: number; json: Record<string, unknown> };

export class FleetNode {
  readonly name: string;
  readonly #privateKey: KeyObject = generateKeyPairSync('ed25519').privateKey;
  readonly #peerId = peerIdFromPublicKey(rawPublicKey(this.#privateKey));
  #trust: TrustStore | undefined;
  #fleetId = '';
  /** As the hub signed it last. */
  certificate = Buffer.alloc(0);

  constructor(name: string) {
    this.name = name;
  }

  /** Joins with a new token unless one is given. */
  async enrol(hub: TestHub, given?: string): Promise<Membership> {
    const token = given ?? (await hub.hub.createJoinToken());
    const body = { token, node: this.name, peerId: this.#peerId, ...ENDPOINT };
    const { json, status } = await this.call(hub, 'enrol', body);
    if (status !== 200) throw new Error(`the hub answers ${status}: ${JSON.stringify(json)}`);
    const { keyBundle, membership, fleetId } = checkBody(EnrolResponse, json);
    this.#trust ??= new TrustStore({ rootFingerprint: token.split('.').at(-1) ?? '' });
    this.#trust.load(Buffer.from(keyBundle, 'base64'));
    this.#fleetId = fleetId;
    this.certificate = Buffer.from(membership, 'base64');
    return this.verify(this.certificate);
  }

  /** Takes the keys that the hub publishes now. @throws TrustError */
  async pollKeys(hub: TestHub): Promise<void> {
    const { json } = await this.call(hub, 'keys');
    this.#trust?.load(Buffer.from(checkBody(KeysResponse, json).keyBundle, 'base64'));
  }

  /** @throws TrustError */
  verify(certificate: Buffer): Membership {
    if (this.#trust === undefined) throw new Error('this node has not joined');
    return verifyMembership(certificate, this.#trust, {
      nowMs: Date.now(),
      fleetId: this.#fleetId,
    });
  }

  /** Code of the refusal; '' when the hub renews the membership. */
  async renew(hub: TestHub): Promise<string> {
    const { status, json } = await this.call(hub, 'renew', ENDPOINT);
    const { error } = json;
    const isRefusal = typeof error === 'object' && error !== null && 'code' in error;
    return status === 200 || !isRefusal ? '' : String(error.code);
  }

  async call(hub: TestHub, call: keyof typeof FLEET_PATHS, body?: object): Promise<Reply> {
    const path = FLEET_PATHS[call];
    const method = body === undefined ? 'GET' : 'POST';
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const identity = { peerId: this.#peerId, privateKey: this.#privateKey };
    const signed = { method, path, body: bytes, nowMs: Date.now() };
    const authorization = signRequest(signed, identity);
    const answer = await hub.ask(path, {
      method,
      authorization,
      ...(body === undefined ? {} : { body: bytes }),
      headers: { 'content-type': 'application/json' },
    });
    return { status: answer.status, json: JSON.parse(answer.body.toString()) };
  }
}
