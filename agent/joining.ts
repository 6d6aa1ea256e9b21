import { hostname } from 'node:os';
import path from 'node:path';
import type { BuildInfo } from '../proto/ops/build-info.ts';
import type { Logger } from '../proto/ops/logger.ts';
import type { MetricsRegistry } from '../proto/ops/metrics.ts';
import { hasCode } from '../proto/std/errors.ts';
import type { RateBudget } from '../proto/std/rate-budget.ts';
import { GRANTS_FILE_MAX_BYTES, GRANTS_MAX, GRANTS_SAVE_DELAY_MS } from './fetch/constants.ts';
import { GrantBook } from './fetch/grants.ts';
import type { FleetClient, Swarm } from './fetch/ports.ts';
import { Fleet } from './fleet/fleet.ts';
import { libp2pKeyOf } from './fleet/identity.ts';
import { KeptList } from './fleet/kept-list.ts';
import { createFleetMetrics } from './fleet/metrics.ts';
import type { AgentConfig } from './options.ts';
import { readCertificates, readConfigured } from './registries.ts';
import type { ContentReader } from './swarm/content-reader.ts';
import type { Relay } from './swarm/exchange-handlers.ts';
import { createSwarmMetrics } from './swarm/metrics.ts';
import { SwarmNode } from './swarm/swarm.ts';
import { TAGS_MAX, TAG_FILE_MAX_BYTES, TAG_SAVE_DELAY_MS } from './tags/constants.ts';
import { createTagMetrics } from './tags/metrics.ts';
import { TagBook } from './tags/tag-book.ts';
import { Tags } from './tags/tags.ts';

/** Faults of the operator's making, which stop the start instead of being lived with. */
const CONFIG_FAULTS = ['CONFIG_INVALID', 'HUB_URL_INVALID', 'PLAIN_HTTP_REFUSED'];

/** undefined: this agent is in no fleet, for want of a hub, of a join token, or of its identity. */
export async function openFleet(
  config: AgentConfig,
  modules: { logger: Logger; metrics: MetricsRegistry; build: BuildInfo },
): Promise<Fleet | undefined> {
  const { hub, store, swarm } = config;
  const { logger, metrics, build } = modules;
  if (hub.url === undefined) return undefined;
  const ca = await readCertificates(hub.caFile, 'hub.caFile');
  try {
    const fleet = await Fleet.open(
      {
        dataDir: path.join(store.dataDir, 'node'),
        url: hub.url,
        allowPlainHttp: hub.allowPlainHttp,
        ca,
        joinToken: await joinTokenOf(config, logger),
        node: hub.node ?? hostname(),
        zone: hub.zone,
        addresses: swarm.addresses,
        outageGraceMs: hub.outageGrace,
        build: build.version,
      },
      { metrics: (live) => createFleetMetrics(metrics, live), logger },
    );
    if (fleet === undefined) {
      const remedy = 'make a join token on the hub and set hub.joinTokenFile';
      logger.warn({ remedy }, 'in no fleet: this agent reads from the hub alone');
    }
    return fleet;
  } catch (err) {
    if (hasCode(err, ...CONFIG_FAULTS)) throw err;
    logger.error({ err }, 'no fleet: this agent reads from the hub alone');
    return undefined;
  }
}

/** The file may be gone again once the node has joined. */
async function joinTokenOf(config: AgentConfig, logger: Logger): Promise<string | undefined> {
  const { joinToken, joinTokenFile } = config.hub;
  if (joinToken !== undefined || joinTokenFile === undefined) return joinToken;
  try {
    return (await readConfigured(joinTokenFile, 'hub.joinTokenFile'))?.trim();
  } catch (err) {
    logger.warn({ err }, 'join token is not readable; fine for a node that has joined');
    return undefined;
  }
}

/** undefined: no swarm, for example because its port is taken; the hub is still there. */
export async function startSwarm(
  config: AgentConfig,
  modules: {
    fleet: Fleet;
    content: ContentReader;
    relay: Relay;
    metrics: MetricsRegistry;
    logger: Logger;
    build: BuildInfo;
    uploadRate: RateBudget | undefined;
  },
): Promise<SwarmNode | undefined> {
  const { fleet, content, relay, metrics, logger, build, uploadRate } = modules;
  const { listen, lane, lanePort, connectionsMax, uploads } = config.swarm;
  try {
    const privateKey = await libp2pKeyOf(fleet.identity);
    return await SwarmNode.start(
      {
        privateKey,
        listen,
        lanePort: lane ? lanePort : undefined,
        connectionsMax,
        uploads,
        uploadRate,
        build: build.version,
      },
      {
        members: fleet.members,
        trust: fleet.trust,
        fleetId: () => fleet.fleetId,
        graceMs: () => fleet.graceMs(),
        content,
        relay,
        metrics: (live) => createSwarmMetrics(metrics, live),
        logger,
      },
    );
  } catch (err) {
    const remedy = 'choose free addresses in swarm.listen and start again';
    logger.error({ err, listen, remedy }, 'no swarm: this agent reads from the hub alone');
    return undefined;
  }
}

/**
 * The tag statements of this node, with those of its last run; peers get them through the relay.
 * undefined: in no fleet or swarm. Closed with `starting`.
 */
export async function openTags(
  config: AgentConfig,
  starting: AsyncDisposableStack,
  modules: {
    fleet: Fleet | undefined;
    node: SwarmNode | undefined;
    relay: Relay;
    metrics: MetricsRegistry;
    logger: Logger;
  },
): Promise<Tags | undefined> {
  const { fleet, node: swarm, relay, metrics, logger } = modules;
  if (fleet === undefined || swarm === undefined) return undefined;
  const book: TagBook = new TagBook(
    {},
    { trust: fleet.trust, fleetId: () => fleet.fleetId, onChange: () => kept.changed() },
  );
  const kept = new KeptList(
    {
      path: path.join(config.store.dataDir, 'node', 'tags.json'),
      itemsMax: TAGS_MAX,
      fileMaxBytes: TAG_FILE_MAX_BYTES,
      delayMs: TAG_SAVE_DELAY_MS,
    },
    { items: () => book.statements(), logger },
  );
  starting.defer(() => kept.close());
  const tagMetrics = createTagMetrics(metrics, () => book.size);
  const tags = new Tags({}, { book, hub: fleet, swarm, metrics: tagMetrics, logger });
  starting.defer(() => tags.close());
  tags.restore(await kept.load());
  relay.tagStatement = (name) => tags.tagStatement(name);
  return tags;
}

/** The rights of this node, with the public ones of its last run. Saved with `starting`. */
export async function openGrants(
  config: AgentConfig,
  starting: AsyncDisposableStack,
  modules: { fleet: FleetClient; swarm: Swarm; logger: Logger },
): Promise<GrantBook> {
  const { logger } = modules;
  const outageGraceMs = config.fetch.grantOutageGrace;
  const onChange = (): void => kept.changed();
  const grants: GrantBook = new GrantBook({ outageGraceMs, onChange }, modules);
  const kept = new KeptList(
    {
      path: path.join(config.store.dataDir, 'node', 'grants.json'),
      itemsMax: GRANTS_MAX,
      fileMaxBytes: GRANTS_FILE_MAX_BYTES,
      delayMs: GRANTS_SAVE_DELAY_MS,
    },
    { items: () => grants.kept(), logger },
  );
  starting.defer(() => kept.close());
  starting.defer(() => grants.close());
  grants.restore(await kept.load());
  return grants;
}
