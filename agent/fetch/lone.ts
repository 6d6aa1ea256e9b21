import { CodedError } from '../../proto/std/errors.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import type { FleetClient, Swarm } from './ports.ts';

function alone(): CodedError<{ code: 'NOT_ENROLLED' }> {
  return new CodedError('this agent is in no fleet', { code: 'NOT_ENROLLED' });
}

/** Stands in for the fleet of an agent that was never enrolled: no grants, no statements. */
export function loneFleet(): FleetClient {
  return {
    announce: () => Promise.reject(alone()),
    requestGrant: () => Promise.reject(alone()),
    online: false,
    trust: new TrustStore({ rootFingerprint: '' }),
    fleetId: '',
  };
}

/** A swarm without anybody else. */
export function loneSwarm(): Swarm {
  return {
    peerId: '',
    zone: '',
    members: () => [],
    link: () => Promise.reject(alone()),
    transport: { name: 'none', fetchChunk: () => Promise.reject(alone()) },
    ban: () => {},
    isBanned: () => false,
  };
}
