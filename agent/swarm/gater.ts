import type { ConnectionGater, PeerId } from '@libp2p/interface';
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr';
import { isIPv6 } from 'node:net';
import type { Membership } from '../../proto/trust/membership.ts';
import type { MemberDirectory } from '../fleet/member-book.ts';
import type { Admission } from './admission.ts';
import type { BanBook } from './bans.ts';
import type { CountRefusals } from './metrics.ts';

/** Of a membership, what it takes to reach the member. */
export type Endpoint = Pick<Membership, 'peerId' | 'addresses' | 'libp2pPort'>;

/** Where the hub certified that a member listens; the only addresses this node ever dials. */
export function dialAddresses(member: Endpoint): Multiaddr[] {
  return member.addresses.map((address) => {
    const family = isIPv6(address) ? 'ip6' : 'ip4';
    return multiaddr(`/${family}/${address}/tcp/${member.libp2pPort}/p2p/${member.peerId}`);
  });
}

/** Lets in members and, up to a bound, strangers for their hello; dials members only. */
export function createGater(modules: {
  admission: Pick<Admission, 'allows'>;
  members: Pick<MemberDirectory, 'get'>;
  bans: Pick<BanBook, 'isBanned'>;
  refused: CountRefusals;
}): ConnectionGater {
  const { admission, members, bans, refused } = modules;
  const denyPeer = (peer: PeerId): boolean => {
    const peerId = peer.toString();
    return bans.isBanned(peerId) || members.get(peerId) === undefined;
  };
  return {
    denyDialPeer: denyPeer,
    denyDialMultiaddr: (address) => {
      const peerId = address.getComponents().findLast((part) => part.name === 'p2p')?.value;
      const member = peerId === undefined ? undefined : members.get(peerId);
      const wanted = address.toString();
      return !member || !dialAddresses(member.membership).some((at) => at.toString() === wanted);
    },
    denyOutboundConnection: denyPeer,
    denyOutboundEncryptedConnection: denyPeer,
    denyInboundEncryptedConnection: (peer) => {
      if (admission.allows(peer.toString())) return false;
      refused('connection');
      return true;
    },
    filterMultiaddrForPeer: () => false,
  };
}
