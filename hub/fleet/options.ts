import { Type, type Static } from 'typebox';
import { ByteSize, Duration } from '../../proto/ops/config.ts';
import { GRANT_MAX_MS } from '../../proto/trust/grant.ts';
import { MEMBERSHIP_LIFE_MS } from './constants.ts';

const CIDRS_MAX = 64;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

const KeysOptions = Type.Object(
  {
    encryptionKeyFile: Type.Optional(
      Type.String({
        description:
          'file with 32 bytes in hex or base64, mode 0600, the same at all hubs that share a ' +
          'catalog: the keys of the fleet are kept there, encrypted under it; ' +
          'if left out, in a file of the data folder',
      }),
    ),
    previousEncryptionKeyFile: Type.Optional(
      Type.String({
        description:
          'the file they were encrypted under before; they are then encrypted under the other',
      }),
    ),
  },
  { description: 'where the keys of the fleet are kept', default: {} },
);

/** Section `fleet` of the hub. */
export const FleetOptions = Type.Object(
  {
    addressCidrs: Type.Array(Type.String({ description: 'a network such as 10.0.0.0/8' }), {
      description:
        'networks out of which agents may name addresses of their own; ' +
        'besides, only the address they connect from is believed',
      default: [],
      maxItems: CIDRS_MAX,
    }),
    zones: Type.Record(
      Type.String(),
      Type.String({ description: 'zone of the node', maxLength: 63 }),
      {
        description: 'zone of each node by its name; nodes not in it are a zone of their own',
        default: {},
      },
    ),
    membershipLife: Duration({
      description: 'how long a membership certificate is valid',
      default: '7d',
      minimum: 10 * MINUTE_MS,
      maximum: 4 * MEMBERSHIP_LIFE_MS,
    }),
    grantLife: Duration({
      description: 'how long a grant is valid; after it a repository made private is private',
      default: '15m',
      minimum: MINUTE_MS,
      maximum: GRANT_MAX_MS,
    }),
    keys: KeysOptions,
    sourceRate: ByteSize({
      description:
        'bytes per second that all agents together may take from the hub or upstreams ' +
        'beside what the tracker leases them, when the swarm is slow or stands',
      default: '64MiB',
      minimum: 1_048_576,
      maximum: 2 ** 40,
    }),
    joinTokenLife: Duration({
      description: 'how long a join token is valid when none is said',
      default: '24h',
      minimum: MINUTE_MS,
      maximum: 365 * DAY_MS,
    }),
  },
  { description: 'agents: enrolment, memberships and grants', default: {} },
);

/** Decoded: durations in ms. */
export type FleetConfig = Static<typeof FleetOptions>;
