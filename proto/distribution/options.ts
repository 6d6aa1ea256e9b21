import { Type } from 'typebox';
import { REDIRECT_HOSTS_MAX, REGISTRY_HOSTS_MAX } from './constants.ts';

const NAME = '[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*';
const HOST = `^((\\*\\.)?${NAME}|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$`;

/** The setting `redirectHosts` of a registry; see isListedHost for what an entry means. */
export const RedirectHosts = Type.Array(
  Type.String({ description: 'host[:port], or *.suffix for every host below it', pattern: HOST }),
  {
    description:
      'hosts besides itself that this registry may redirect to, such as its blob storage; ' +
      'credentials never go there',
    default: [],
    maxItems: REDIRECT_HOSTS_MAX,
  },
);

/** Settings of a registry that a hub asks: how it is reached, and where it may send us. */
export const RegistryAccess = {
  caFile: Type.Optional(
    Type.String({
      description: 'PEM file with certificates to believe besides those of the system',
    }),
  ),
  proxy: Type.Optional(
    Type.String({
      description:
        'http://[user:password@]host:port to ask through, or none; if left out, the ' +
        'variables HTTPS_PROXY and HTTP_PROXY',
    }),
  ),
  noProxy: Type.Optional(
    Type.Array(Type.String({ description: 'host, .suffix, address or network; or *' }), {
      description: 'hosts that are asked directly; if left out, the variable NO_PROXY',
      maxItems: REGISTRY_HOSTS_MAX,
    }),
  ),
  allowPlainHttp: Type.Boolean({
    description: 'allow http:// beyond loopback; anybody on the path can then change tags',
    default: false,
  }),
  tokenHosts: Type.Array(Type.String({ description: 'host[:port] of a token service' }), {
    description: 'hosts besides itself that get its credentials for a token',
    default: [],
    maxItems: REGISTRY_HOSTS_MAX,
  }),
  redirectHosts: RedirectHosts,
  allowedNetworks: Type.Array(Type.String({ description: 'a network such as 10.0.0.0/8' }), {
    description:
      'networks besides public ones that hosts of tokens and redirects may be in; the ' +
      'registry itself may be anywhere',
    default: [],
    maxItems: REGISTRY_HOSTS_MAX,
  }),
};
