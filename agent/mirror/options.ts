import { Type } from 'typebox';
import type { Static } from 'typebox';
import { RedirectHosts } from '../../proto/distribution/options.ts';
import { Duration, Listen } from '../../proto/ops/config.ts';
import { LISTENERS_MAX } from '../../proto/ops/constants.ts';
import {
  BODY_STALL_TIMEOUT_MS,
  CLIENT_STALL_TIMEOUT_MS,
  HEADERS_TIMEOUT_MS,
  REQUESTS_MAX,
  STALE_TAG_MAX_AGE_MS,
  TOKEN_HOSTS_MAX,
  UPSTREAMS_MAX,
} from './constants.ts';

/** Section `mirror`. */
export const MirrorOptions = Type.Object(
  {
    listen: Type.Array(
      Listen({ description: 'an address of this node; runtimes reach it over loopback' }),
      {
        description: 'addresses of the mirror; one that this machine lacks is skipped',
        default: ['127.0.0.1:7410', '[::1]:7410'],
        minItems: 1,
        maxItems: LISTENERS_MAX,
      },
    ),
    requestsMax: Type.Integer({
      description: 'requests answered at the same time; further ones get 503',
      default: REQUESTS_MAX,
      minimum: 1,
      maximum: 65_536,
    }),
    headersTimeout: Duration({
      description: 'time until response headers, then 503',
      default: `${HEADERS_TIMEOUT_MS / 1_000}s`,
      minimum: 100,
      maximum: 60_000,
    }),
    bodyStallTimeout: Duration({
      description: 'silence of every source in mid-body until the connection is cut',
      default: `${BODY_STALL_TIMEOUT_MS / 1_000}s`,
      minimum: 100,
      maximum: 600_000,
    }),
    staleTagMaxAge: Duration({
      description:
        'while the hub does not answer, a tag is resolved by the last statement that the hub ' +
        'signed about it, if that is not older than this; 0: never. Whatever this is, content ' +
        'is given for at most 30m and fetch.grantOutageGrace from the last answer of the hub on',
      default: `${STALE_TAG_MAX_AGE_MS / 3_600_000}h`,
      minimum: 0,
      maximum: 30 * 24 * 3_600_000,
    }),
    clientStallTimeout: Duration({
      description: 'time a client may leave its socket unread until the connection is cut',
      default: `${CLIENT_STALL_TIMEOUT_MS / 60_000}m`,
      minimum: 1_000,
      maximum: 3_600_000,
    }),
    sendfile: Type.Boolean({
      description:
        'send what lies in files by sendfile(2), on Linux for x64 and arm64; false: through memory',
      default: true,
    }),
  },
  { description: 'the registry endpoint for the container runtime of this node', default: {} },
);

/** Decoded: durations in ms. */
export type MirrorConfig = Static<typeof MirrorOptions>;

/** One entry of the list `upstreams`. */
export const UpstreamOptions = Type.Object({
  name: Type.String({
    description: 'registry host as in image names, such as docker.io or quay.io',
    pattern: '^[A-Za-z0-9.\\[\\]:-]{1,261}$',
  }),
  url: Type.String({ description: 'where the registry is reached, https://host[:port]' }),
  alias: Type.Optional(
    Type.String({
      description: 'first path segment that means this upstream, for clients without ?ns=',
      pattern: '^[a-z0-9]+([._-][a-z0-9]+)*$',
      maxLength: 64,
    }),
  ),
  allowPlainHttp: Type.Boolean({
    description: 'allow http:// beyond loopback; anybody on the path can then change tags',
    default: false,
  }),
  caFile: Type.Optional(
    Type.String({ description: 'PEM file with the certificates that sign this registry' }),
  ),
  tokenHosts: Type.Array(Type.String({ description: 'host[:port] of a token service' }), {
    description: 'hosts that may give out tokens for this registry, besides itself',
    default: [],
    maxItems: TOKEN_HOSTS_MAX,
  }),
  redirectHosts: RedirectHosts,
});

/** The list `upstreams`: registries this agent may read besides the hub. */
export const UpstreamsOptions = Type.Array(UpstreamOptions, {
  description: 'registries besides the hub that runtimes may pull through this agent',
  default: [],
  maxItems: UPSTREAMS_MAX,
});
