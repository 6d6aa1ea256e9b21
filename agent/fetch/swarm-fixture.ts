// A swarm without network for the tests of searches: members that answer as a test says.
import type { Membership } from '../../proto/trust/membership.ts';
import { CodedError } from '../../proto/std/errors.ts';
import type { BanReason, PeerLink, Swarm } from './ports.ts';

type Answers = Partial<Pick<PeerLink, 'tag' | 'grant' | 'blob'>>;

/** Members by peer id, with what each answers; undefined: it cannot be reached. */
export class FakeSwarm implements Swarm {
  readonly peerId = 'own';
  readonly zone = '';
  readonly answers = new Map<string, Answers | undefined>();
  readonly bans: { peerId: string; reason: BanReason }[] = [];
  /** Peer ids in the order they were asked. */
  readonly linked: string[] = [];
  readonly transport = { name: 'none', fetchChunk: () => Promise.reject(unreachable()) };

  members(): readonly Membership[] {
    return [...this.answers.keys()].map((peerId) => memberOf(peerId));
  }

  async link(member: Membership): Promise<PeerLink> {
    const { peerId, node } = member;
    this.linked.push(peerId);
    const answers = this.answers.get(peerId);
    if (answers === undefined) throw unreachable();
    return {
      peerId,
      node,
      closed: false,
      openGrant: async () => false,
      have: nothing,
      hashes: nothing,
      statement: nothing,
      blob: nothing,
      grant: nothing,
      tag: nothing,
      ...answers,
    };
  }

  ban(peerId: string, reason: BanReason): void {
    this.bans.push({ peerId, reason });
  }

  isBanned(peerId: string): boolean {
    return this.bans.some((ban) => ban.peerId === peerId);
  }
}

function nothing(): Promise<undefined> {
  return Promise.resolve(undefined);
}

function unreachable(): Error {
  return new CodedError('nobody there', { code: 'UNREACHABLE' });
}

/** A member that listens nowhere. */
export function memberOf(peerId: string, fleetId = 'fleet-1'): Membership {
  return {
    fleetId,
    peerId,
    node: `node-${peerId}`,
    zone: '',
    addresses: ['127.0.0.1'],
    libp2pPort: 1,
    lanePort: 0,
    serial: 1,
    notBeforeMs: 0,
    notAfterMs: Number.MAX_SAFE_INTEGER,
  };
}
