import { Type, type Static } from 'typebox';
import { RegistryAccess } from '../../proto/distribution/options.ts';
import { ByteSize, Duration, Secret } from '../../proto/ops/config.ts';
import { GLOB_MAX_CHARS } from '../access/glob.ts';
import {
  CREDENTIALS_MAX,
  REPOSITORY_GLOBS_MAX,
  UPSTREAM_AGE_MAX_MS,
  UPSTREAM_CONNECTIONS,
  UPSTREAM_CONNECTIONS_MAX,
  UPSTREAMS_MAX,
} from './constants.ts';

const LABEL = '[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?';
const HOST = `^${LABEL}(\\.${LABEL})*(:[0-9]{1,5})?$`;
const HOST_MAX_CHARS = 128;
const ALIAS_MAX_CHARS = 64;
const BANDWIDTH_MIN = 10_000;
const RESERVE = 20;
const RESERVE_MAX = 90;
const PULLS_MAX = 1_000_000;

const CredentialOptions = Type.Object({
  username: Type.String({ description: 'name of the account', minLength: 1, pattern: '^[^:]+$' }),
  password: Type.Optional(
    Secret({ description: 'its password or access token; better in passwordFile' }),
  ),
  passwordFile: Type.Optional(Type.String({ description: 'file with the password or token' })),
});

const RateLimitOptions = Type.Object(
  {
    pulls: Type.Integer({
      description: 'manifests that may be pulled in the time below',
      minimum: 1,
      maximum: PULLS_MAX,
    }),
    window: Duration({
      description: 'the time in which they come in again',
      default: '6h',
      minimum: 1_000,
      maximum: UPSTREAM_AGE_MAX_MS,
    }),
  },
  { description: 'a limit of your own, of all hubs together, besides what the registry tells' },
);

const age = (description: string, value: string) =>
  Duration({ description, default: value, minimum: 0, maximum: UPSTREAM_AGE_MAX_MS });

/** How content is reached: where, as whom, through what. */
const Reaching = {
  name: Type.String({
    description:
      'host as in image names, such as docker.io; known: docker.io, ghcr.io, quay.io, ' +
      'registry.k8s.io, gcr.io, public.ecr.aws',
    pattern: HOST,
    maxLength: HOST_MAX_CHARS,
  }),
  url: Type.Optional(
    Type.String({ description: 'https://host[:port] of its API; if left out, what is known' }),
  ),
  alias: Type.Optional(
    Type.String({
      description: 'another first path segment for it, without a dot, such as hub',
      maxLength: ALIAS_MAX_CHARS,
    }),
  ),
  credentials: Type.Array(CredentialOptions, {
    description: 'accounts; the one with most pulls left is used. None: without an account',
    default: [],
    maxItems: CREDENTIALS_MAX,
  }),
  repositories: Type.Array(
    Type.String({
      description: 'as the registry names them; * is part of a segment, ** anything',
      maxLength: GLOB_MAX_CHARS,
    }),
    {
      description: 'repositories that may be pulled; none: all',
      default: [],
      maxItems: REPOSITORY_GLOBS_MAX,
    },
  ),
  ...RegistryAccess,
};

/** What is kept of it, and for how long. */
const Keeping = {
  freshness: Type.Union([Type.Literal('always'), Type.Literal('ttl'), Type.Literal('pinned')], {
    description: 'when a known tag is asked for again: at each pull by HEAD, after ttl, or never',
    default: 'always',
  }),
  ttl: age('how long a tag is believed under freshness ttl', '5m'),
  staleMaxAge: age(
    'how old a tag may be that is served while the registry cannot be asked; 0: never',
    '7d',
  ),
  negativeTtl: age('how long it is believed that something is not there', '30s'),
  onDeleted: Type.Union([Type.Literal('keep'), Type.Literal('remove')], {
    description: 'what becomes of a tag that the registry says it has no more',
    default: 'keep',
  }),
  provisional: Type.Optional(
    Type.Union([Type.Literal('readers'), Type.Literal('swarm-only')], {
      description:
        'who may have bytes of a blob before its digest is checked: readers, or only agents ' +
        'that wait for the end; if left out, swarm-only over plain http and readers otherwise',
    }),
  ),
  visibility: Type.Optional(
    Type.Union([Type.Literal('public'), Type.Literal('private')], {
      description:
        'who may pull at first: everybody or members; if left out, public without ' +
        'credentials and private with some',
    }),
  ),
};

/** How much it is asked. */
const Limits = {
  connections: Type.Integer({
    description: 'requests at the same time, of each hub',
    default: UPSTREAM_CONNECTIONS,
    minimum: 2,
    maximum: UPSTREAM_CONNECTIONS_MAX,
  }),
  bandwidth: Type.Optional(
    ByteSize({
      description: 'bytes per second that each hub takes; if left out, not bounded',
      minimum: BANDWIDTH_MIN,
    }),
  ),
  reserve: Type.Integer({
    description: 'percent of the pulls that are kept for runtimes, before scheduled work',
    default: RESERVE,
    minimum: 0,
    maximum: RESERVE_MAX,
  }),
  rateLimit: Type.Optional(RateLimitOptions),
};

/** One entry of the list `upstreams`. */
const UpstreamOptions = Type.Object({ ...Reaching, ...Keeping, ...Limits });

/** The list `upstreams` of the hub: registries whose content it fetches when it is asked for. */
export const UpstreamsOptions = Type.Array(UpstreamOptions, {
  description: 'registries that may be pulled through this hub',
  default: [],
  maxItems: UPSTREAMS_MAX,
});

/** Decoded: sizes in bytes, durations in ms. */
export type UpstreamConfig = Static<typeof UpstreamOptions>;
