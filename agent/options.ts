import { Type } from 'typebox';
import type { Static } from 'typebox';
import { Duration, Listen } from '../proto/ops/config.ts';
import { LOG_LEVELS } from '../proto/ops/logger.ts';
import { FetchSection } from './fetch/options.ts';
import { HubOptions } from './fleet/options.ts';
import { MirrorOptions, UpstreamsOptions } from './mirror/options.ts';
import { StoreSection } from './store/options.ts';
import { SwarmOptions } from './swarm/options.ts';

const OPS_LISTENERS_MAX = 8;

const LogOptions = Type.Object(
  {
    level: Type.Enum([...LOG_LEVELS], {
      description: 'how much is logged; debug shows every request',
      default: 'info',
    }),
  },
  { description: 'logging, JSON on standard output', default: {} },
);

const OpsOptions = Type.Object(
  {
    listen: Type.Array(Listen({ description: 'an address of this node' }), {
      description: 'where /metrics, /healthz and /readyz are served',
      default: ['127.0.0.1:7411', '[::1]:7411'],
      minItems: 1,
      maxItems: OPS_LISTENERS_MAX,
    }),
    drainTimeout: Duration({
      description: 'time for running answers to end after SIGTERM, then they are cut',
      default: '30s',
      minimum: 0,
      maximum: 3_600_000,
    }),
  },
  { description: 'metrics, health and shutdown', default: {} },
);

const StoreOptions = Type.Object(
  {
    dataDir: Type.String({
      description: 'folder of the cache and of the identity of this node',
      default: '/var/lib/flotilla',
      minLength: 1,
    }),
    ...StoreSection.properties,
  },
  { description: 'the cache of image content on this node', default: {} },
);

/** The configuration of an agent, one section per room. */
export const AgentOptions = Type.Object({
  log: LogOptions,
  ops: OpsOptions,
  mirror: MirrorOptions,
  hub: HubOptions,
  swarm: SwarmOptions,
  store: StoreOptions,
  fetch: FetchSection,
  upstreams: UpstreamsOptions,
});

/** Decoded: sizes in bytes, durations in ms. */
export type AgentConfig = Static<typeof AgentOptions>;
