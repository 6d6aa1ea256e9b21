import { Type } from 'typebox';
import { Listen, Port } from '../../proto/ops/config.ts';

const ADDRESSES_MAX = 8;

/** Section `swarm`. */
export const SwarmOptions = Type.Object(
  {
    listen: Type.Array(
      Listen({ description: 'where other agents reach this one; the same port in all entries' }),
      {
        description: 'addresses of the libp2p listener',
        default: ['0.0.0.0:7412', '[::]:7412'],
        minItems: 1,
        maxItems: ADDRESSES_MAX,
      },
    ),
    addresses: Type.Array(Type.String({ description: 'an IPv4 or IPv6 address', maxLength: 45 }), {
      description:
        'addresses proposed to the hub for this node, which certifies those it can confirm; ' +
        'empty: the address of the connection to the hub',
      default: [],
      maxItems: ADDRESSES_MAX,
    }),
    lane: Type.Boolean({
      description: 'carry chunks over TLS sockets of their own where peers can; else over libp2p',
      default: true,
    }),
    lanePort: Port({
      description: 'port of the lane, on the hosts of swarm.listen; 0: any free port',
      default: 7413,
    }),
    connectionsMax: Type.Integer({
      description: 'connections to other agents, both directions',
      default: 512,
      minimum: 8,
      maximum: 16_384,
    }),
    uploads: Type.Integer({
      description: 'chunks and small blobs sent to other agents at the same time',
      default: 16,
      minimum: 1,
      maximum: 1_024,
    }),
  },
  { description: 'the exchange of chunks with the other agents', default: {} },
);
