import { Type } from 'typebox';
import type { Static } from 'typebox';
import { LogOptions, opsOptions } from '../proto/ops/options.ts';
import { FetchSection } from './fetch/options.ts';
import { HubOptions } from './fleet/options.ts';
import { BandwidthOptions } from './link/options.ts';
import { MirrorOptions, UpstreamsOptions } from './mirror/options.ts';
import { StoreSection } from './store/options.ts';
import { SwarmOptions } from './swarm/options.ts';

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
  ops: opsOptions(7411),
  mirror: MirrorOptions,
  hub: HubOptions,
  swarm: SwarmOptions,
  bandwidth: BandwidthOptions,
  store: StoreOptions,
  fetch: FetchSection,
  upstreams: UpstreamsOptions,
});

/** Decoded: sizes in bytes, durations in ms. */
export type AgentConfig = Static<typeof AgentOptions>;
