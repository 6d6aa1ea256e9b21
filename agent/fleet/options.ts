import { Type } from 'typebox';
import { RedirectHosts } from '../../proto/distribution/options.ts';
import { Duration, Secret } from '../../proto/ops/config.ts';

const HUB_NAMES_MAX = 64;

/** Section `hub` of the agent: where the hub is and how this node joins its fleet. */
export const HubOptions = Type.Object(
  {
    url: Type.Optional(
      Type.String({
        description: 'address of the hub, https://host[:port]; without it the agent works alone',
      }),
    ),
    names: Type.Array(Type.String({ description: 'a registry host as in image names' }), {
      description: 'hosts in image names that mean the hub; the hub adds its own at enrolment',
      default: [],
      maxItems: HUB_NAMES_MAX,
    }),
    allowPlainHttp: Type.Boolean({
      description: 'allow http:// to a hub that is not on loopback',
      default: false,
    }),
    caFile: Type.Optional(
      Type.String({
        description: "PEM file with certificates that sign the hub, besides the system's",
      }),
    ),
    redirectHosts: RedirectHosts,
    joinToken: Type.Optional(
      Secret({ description: 'join token for the first enrolment; prefer joinTokenFile' }),
    ),
    joinTokenFile: Type.Optional(
      Type.String({ description: 'file with the join token for the first enrolment' }),
    ),
    node: Type.Optional(
      Type.String({ description: 'name of this node, unique in the fleet; default: host name' }),
    ),
    zone: Type.Optional(
      Type.String({ description: 'zone of this node for the logs of the hub', maxLength: 63 }),
    ),
    outageGrace: Duration({
      description: 'how long memberships and grants outlive their end while no hub answers',
      default: '24h',
      minimum: 0,
      maximum: 30 * 24 * 3_600_000,
    }),
  },
  { description: 'the hub and the membership of this node', default: {} },
);
