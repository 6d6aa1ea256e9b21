import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { readBuildInfo } from '../proto/ops/build-info.ts';
import type { BuildInfo } from '../proto/ops/build-info.ts';
import { claimFolder } from '../proto/ops/folder-lock.ts';
import type { Logger } from '../proto/ops/logger.ts';
import { MetricsRegistry } from '../proto/ops/metrics.ts';
import { startOpsServer } from '../proto/ops/ops-server.ts';
import type { OpsServer } from '../proto/ops/ops-server.ts';
import type { RateBudget } from '../proto/std/rate-budget.ts';
import { HUB_NAMESPACE } from '../proto/trust/grant.ts';
import { adviceOn, checkAgentOptions } from './checked-options.ts';
import { Downloads } from './fetch/downloads.ts';
import type { GrantBook } from './fetch/grants.ts';
import { loneFleet, loneSwarm } from './fetch/lone.ts';
import { createFetchMetrics, type FetchMetrics } from './fetch/metrics.ts';
import { openFleet, openGrants, openTags, startSwarm } from './joining.ts';
import { LinkBudgets } from './link/budgets.ts';
import { HubTokens } from './mirror/hub-tokens.ts';
import { startMirror, type Mirror } from './mirror/mirror.ts';
import type { Target } from './mirror/namespace.ts';
import type { AgentConfig } from './options.ts';
import { PurgedContent } from './purged.ts';
import { createPrefetchMetrics } from './prefetch/metrics.ts';
import type { PrefetchHub } from './prefetch/ports.ts';
import { Prefetcher } from './prefetch/prefetcher.ts';
import type { TaskModules } from './prefetch/task.ts';
import { readiness } from './readiness.ts';
import type { AgentHealth } from './readiness.ts';
import { namespaceRules, Registries } from './registries.ts';
import { pinRules } from './store-config.ts';
import { FsContentStore } from './store/content-store.ts';
import { createStoreMetrics } from './store/metrics.ts';
import { readerOf } from './swarm/content-reader.ts';
import type { ContentReader } from './swarm/content-reader.ts';
import type { Relay } from './swarm/exchange-handlers.ts';

export type AgentModules = {
  logger: Logger;
  build?: BuildInfo;
  /** What peers read goes through this. Tests give one that lies; the product gives none. */
  wrapContent?: (content: ContentReader) => ContentReader;
};

export type Agent = {
  mirrorUrls: readonly string[];
  opsUrls: readonly string[];
  /** Empty for an agent that is in no fleet. */
  peerId: string;
  /** How long running answers may take to end in `drain`. */
  drainMs: number;
  /** New pulls get 503; resolves when running ones have ended, cut when `deadline` aborts. */
  drain(deadline: AbortSignal): Promise<void>;
  /** Ends everything, in the reverse order of the start. */
  close(): Promise<void>;
};

/**
 * Starts an agent: the composition root. Without a hub, an enrolment or a swarm the mirror serves
 * from what is left.
 * @throws ConfigError; StoreError IO; OpsError FOLDER_IN_USE, LISTEN_FAILED for mirror and ops
 */
export async function startAgent(config: AgentConfig, modules: AgentModules): Promise<Agent> {
  checkAgentOptions(config);
  const { logger, build = readBuildInfo() } = modules;
  for (const advice of adviceOn(config)) logger.warn(advice);
  await using starting = new AsyncDisposableStack();
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  metrics.collectProcess(build);
  const state = { draining: false, startedMs: performance.now() };
  const store = await openStore(config, starting, { logger, metrics });
  const fetchMetrics = createFetchMetrics(metrics);
  const { budgets } = starting.use(await LinkBudgets.open(config.bandwidth, { metrics, logger }));
  const lent: Lent = {};
  const budget = budgets.source;
  const registries = await openRegistries(config, { metrics: fetchMetrics, budget, lent, build });
  starting.defer(() => registries.close());

  const fleet = await openFleet(config, { logger, metrics, build });
  if (fleet !== undefined) starting.defer(() => fleet.close());
  const relay: Relay = { publicGrant: () => undefined, tagStatement: () => undefined };
  const purged = starting.use(await openPurged(config, fleet, { store, logger }));
  const content = (modules.wrapContent ?? ((own) => own))(purged.reader(readerOf(store)));
  const parts = { content, relay, metrics, logger, build, uploadRate: budgets.peersUp };
  const node = fleet && (await startSwarm(config, { ...parts, fleet }));
  if (node !== undefined) starting.defer(() => node.close());
  else purged.heard();
  const swarm = node ?? loneSwarm();
  const client = node === undefined || fleet === undefined ? loneFleet() : fleet;

  const grants = await openGrants(config, starting, { fleet: client, swarm, logger });
  lent.tokenFor = (...place) => grants.tokenFor(...place);
  relay.publicGrant = (...place) => grants.publicGrant(...place);
  const tags = await openTags(config, starting, { node, fleet, relay, metrics, logger });
  const upstream = (namespace: string) => registries.upstreamSource(namespace);
  const sources = { store, swarm, fleet: client, grants, hub: registries.hubSource, upstream };
  const downloads = new Downloads(
    { chunkMemoryBytes: config.fetch.chunkMemory },
    { ...sources, budgets, metrics: fetchMetrics, logger },
  );
  starting.defer(() => downloads.close());

  const rules = namespaceRules(config, {
    names: () => fleet?.hubNames ?? [],
    upstreams: () => fleet?.hubUpstreams ?? [],
  });
  const access = { grants, hubTokens: new HubTokens({ now: Date.now }, client) };
  const originOf = (target: Target) => registries.originOf(target);
  const served = { ...purged.shown(store, downloads), ...access, originOf, tags };
  const mirror = await startMirror({ ...config.mirror, rules }, { ...served, metrics, logger });
  starting.defer(() => mirror.close());
  const ops = await startOps(config, { metrics, logger }, () => ({
    draining: state.draining,
    status: fleet?.status(),
    inSwarm: node !== undefined,
    upMs: performance.now() - state.startedMs,
  }));
  starting.defer(() => ops.close());

  const planned = { content: purged.planned(downloads), store, grants, metrics, logger };
  if (node !== undefined && fleet !== undefined) {
    const prefetch = startPrefetch(fleet, starting, planned);
    fleet.start({ ...node.presence, ...purged.hearer, prefetch });
  }
  if (node !== undefined) downloads.start();
  logger.info({ mirror: mirror.urls, ops: ops.urls, peerId: swarm.peerId }, 'agent serves');
  const peerId = fleet?.identity.peerId ?? '';
  const drainMs = config.ops.drainTimeout;
  return agentOf({ state, peerId, drainMs }, { mirror, ops }, starting.move());
}

function agentOf(
  { state, peerId, drainMs }: { state: { draining: boolean }; peerId: string; drainMs: number },
  parts: { mirror: Mirror; ops: OpsServer },
  running: AsyncDisposableStack,
): Agent {
  const { mirror, ops } = parts;
  return {
    mirrorUrls: mirror.urls,
    opsUrls: ops.urls,
    peerId,
    drainMs,
    drain: async (deadline) => {
      state.draining = true;
      await mirror.drain(deadline);
    },
    close: () => running.disposeAsync(),
  };
}

/** Known when the grants are open, which need what was opened before. */
type Lent = { tokenFor?: GrantBook['tokenFor'] };

function openRegistries(
  config: AgentConfig,
  modules: { metrics: FetchMetrics; budget: RateBudget | undefined; lent: Lent; build: BuildInfo },
): Promise<Registries> {
  const { lent, build, ...rest } = modules;
  return Registries.open(config, {
    ...rest,
    userAgent: `flotilla/${build.version}`,
    hubAuthorization: (repository) => {
      const token = lent.tokenFor?.(HUB_NAMESPACE, repository);
      return token && `Bearer ${token}`;
    },
  });
}

/** What to call when the hub says that it wants something here. */
function startPrefetch(
  hub: PrefetchHub,
  starting: AsyncDisposableStack,
  modules: Omit<TaskModules, 'metrics'> & { metrics: MetricsRegistry; logger: Logger },
): () => void {
  const metrics = createPrefetchMetrics(modules.metrics);
  const prefetcher = new Prefetcher({}, { ...modules, hub, metrics });
  starting.defer(() => prefetcher.close());
  return () => prefetcher.hint();
}

function startOps(
  config: AgentConfig,
  modules: { logger: Logger; metrics: MetricsRegistry },
  health: () => AgentHealth,
): Promise<OpsServer> {
  return startOpsServer({
    listen: config.ops.listen,
    registry: modules.metrics,
    live: () => ({ ok: true, reasons: [] }),
    ready: () => readiness(config, health()),
    logger: modules.logger,
  });
}

function openPurged(
  { store: { dataDir } }: AgentConfig,
  fleet: object | undefined,
  modules: { store: FsContentStore; logger: Logger },
): Promise<PurgedContent> {
  const file = path.join(dataDir, 'purged.json');
  return PurgedContent.open({ file, awaitsHub: fleet !== undefined }, modules);
}

function makeOwnFolder(folder: string): Promise<unknown> {
  return mkdir(folder, { recursive: true, mode: 0o700 });
}

async function openStore(
  config: AgentConfig,
  starting: AsyncDisposableStack,
  modules: { logger: Logger; metrics: MetricsRegistry },
): Promise<FsContentStore> {
  const { dataDir, quota: quotaBytes, highWater, lowWater, containerdContent } = config.store;
  const scrub = { periodMs: config.store.scrubPeriod, rateBytes: config.store.scrubRate };
  // Before the fleet is known: names the hub adds at enrolment are not names of pinned content.
  const pins = pinRules(config, namespaceRules(config, { names: () => [], upstreams: () => [] }));
  starting.use(await claimFolder(dataDir, 'store.dataDir', makeOwnFolder));
  const store = await FsContentStore.open(
    {
      dataDir: path.join(dataDir, 'content'),
      quotaBytes,
      highWater,
      lowWater,
      pins,
      scrub,
      containerdContent,
    },
    { logger: modules.logger, metrics: createStoreMetrics(modules.metrics) },
  );
  starting.defer(() => store.close());
  return store;
}
