import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fastify } from 'fastify';
import { request } from 'undici';
import { startAgent } from '../../agent/agent.ts';
import type { Agent } from '../../agent/agent.ts';
import { AgentOptions } from '../../agent/options.ts';
import type { ContentReader } from '../../agent/swarm/content-reader.ts';
import { FilesystemBlobStore } from '../../hub/blobs/filesystem.ts';
import type { BlobStore } from '../../hub/blobs/port.ts';
import type { OpenCatalog } from '../../hub/catalog/open-catalog.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';
import { KyselyUploadStore, type UploadTables } from '../../hub/catalog/upload-store.ts';
import { createFleet, type Fleet } from '../../hub/fleet/fleet.ts';
import { MemoryFleetStore } from '../../hub/fleet/memory-store.ts';
import { startServers, type HubServers } from '../../hub/http/servers.ts';
import { createRegistryMetrics } from '../../hub/registry/metrics.ts';
import { Registry } from '../../hub/registry/registry.ts';
import { createUplinkMetrics } from '../../hub/uplink/metrics.ts';
import { Uplink } from '../../hub/uplink/uplink.ts';
import { FakeIngest, FakeIngests } from '../../hub/upstream/provisional/fake-ingest.ts';
import { createProvisionalMetrics } from '../../hub/upstream/provisional/metrics.ts';
import { Provisional } from '../../hub/upstream/provisional/provisional.ts';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseRepository, parseTag } from '../../proto/oci/name.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { until } from '../rig/until.ts';
import { HUB_NAME, metricsOf } from './loopback-fleet.ts';

const LOGGER = createLogger({ level: 'silent', name: 'test' });
const NAME = 'team/app';
const REPOSITORY = parseRepository(NAME);
const WAIT_MS = 30_000;

/** The rooms of a hub that are asked for a blob on its way, as far as they are of the product. */
async function openHub(folder: string, ingests: FakeIngests, cold: Set<Digest>) {
  const catalog = await openSqliteCatalog({ path: path.join(folder, 'catalog.sqlite') });
  const blobs = await FilesystemBlobStore.open({ root: path.join(folder, 'registry') });
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  const told: { provisional?: Provisional } = {};
  const fleet = await createFleet(
    {
      config: {
        addressCidrs: [],
        zones: {},
        membershipLife: 86_400_000,
        grantLife: 900_000,
        sourceRate: 2 ** 30,
        joinTokenLife: 3_600_000,
        keys: {},
      },
      keysDir: path.join(folder, 'keys'),
      hubNames: [HUB_NAME],
      trustedProxies: [],
      shared: false,
    },
    {
      store: new MemoryFleetStore(),
      catalog: {
        blobChunks: (digest) => catalog.blobChunks(digest),
        blobIn: (repository, digest) => catalog.blobIn(repository, digest),
        tagged: (repository, tag) => catalog.tagged(repository, tag),
        reachable: async (repository, digest) => {
          const reach = await catalog.reachable(repository, digest);
          return reach && { ...reach, digests: [...new Set([...reach.digests, ...cold])] };
        },
      },
      coming: (...blob) => told.provisional?.coming(...blob),
      isPublic: () => true,
      privateRights: { lend: async () => undefined, mayRead: async () => true },
      chores: { add: () => {} },
      metrics,
      logger: LOGGER,
    },
  );
  const signingKey = () => fleet.statementKey();
  const own = { ingests, signingKey, metrics: createProvisionalMetrics(metrics) };
  const registryOf = registries({ catalog, blobs, fleet, metrics });
  /** As a new process would. */
  const begin = (): Registry => {
    told.provisional = new Provisional({}, own);
    return registryOf(told.provisional);
  };
  return { catalog, blobs, fleet, metrics, begin };
}

/** Makes registries on what a hub has; everybody may do everything. */
function registries(parts: {
  catalog: OpenCatalog;
  blobs: BlobStore;
  fleet: Fleet;
  metrics: MetricsRegistry;
}): (provisional: Provisional) => Registry {
  const { catalog, blobs, fleet, metrics } = parts;
  const db = catalog.db.withTables<UploadTables>();
  const uploads = new KyselyUploadStore({ shared: false }, { db });
  const registryMetrics = createRegistryMetrics(metrics, () => 0);
  const uplinkMetrics = createUplinkMetrics(metrics);
  const uplink = new Uplink({ bytesPerSecond: undefined }, { metrics: uplinkMetrics });
  const guard = {
    check: async () => {},
    subjectOf: async () => 'anybody',
    visibleTo: async () => catalog,
    challenge: () => '',
  };
  return (provisional) =>
    new Registry(
      { names: [HUB_NAME], sparse: { indexes: false, images: true } },
      {
        blobs,
        catalog,
        uploads,
        guard,
        statementFor: (digest) => fleet.statementFor(digest),
        provisional,
        uplink,
        callerOf: () => 'anybody',
        metrics: () => registryMetrics,
        logger: LOGGER,
      },
    );
}

type OpenedHub = Awaited<ReturnType<typeof openHub>>;

/** A hub that fetches a blob as a test says, and agents, over loopback. */
export class ProvisionalFleet implements AsyncDisposable {
  readonly agents: Agent[] = [];
  readonly logged: Record<string, unknown>[] = [];
  readonly #folder: string;
  readonly #hub: OpenedHub;
  readonly #ingests: FakeIngests;
  readonly #cold: Set<Digest>;
  #servers: HubServers | undefined;
  #registry: Registry | undefined;
  #app = fastify();
  #url = '';

  private constructor(
    folder: string,
    parts: { hub: OpenedHub; ingests: FakeIngests; cold: Set<Digest> },
  ) {
    this.#folder = folder;
    this.#hub = parts.hub;
    this.#ingests = parts.ingests;
    this.#cold = parts.cold;
  }

  /** `wrap`: what the peers of the first agent read through. */
  static async start(
    agents: number,
    wrap?: (content: ContentReader) => ContentReader,
  ): Promise<ProvisionalFleet> {
    const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-provisional-'));
    const ingests = new FakeIngests();
    const cold = new Set<Digest>();
    const hub = await openHub(folder, ingests, cold);
    const fleet = new ProvisionalFleet(folder, { hub, ingests, cold });
    await fleet.#serve('127.0.0.1:0');
    const names = Array.from({ length: agents }, (_, at) => at);
    await Promise.all(names.map((at) => fleet.#addAgent(`n${at}`, at === 0 ? wrap : undefined)));
    return fleet;
  }

  get fleet(): Fleet {
    return this.#hub.fleet;
  }

  /** The hub begins to fetch a blob, of which the upstream sends these bytes. */
  fetch(
    digest: Digest,
    sent: Buffer,
    o: { provisional?: FakeIngest['provisional'] } = {},
  ): FakeIngest {
    const ingest = new FakeIngest(digest, sent, o);
    this.#cold.add(digest);
    this.#ingests.put(NAME, ingest);
    return ingest;
  }

  /** The whole blob is there: it is stored as any other, or found to be wrong. */
  async finish(ingest: FakeIngest, bytes?: Buffer): Promise<void> {
    ingest.receive(ingest.size);
    if (bytes !== undefined) await this.#push((client) => pushBlob(client, bytes));
    this.#ingests.remove(NAME, ingest.digest);
    ingest.end(bytes === undefined ? 'wrong' : 'stored');
  }

  /** Pushes a manifest that names the blob; what a runtime asks for. */
  async pushManifest(digest: Digest, size: number): Promise<void> {
    const config = Buffer.from('{}');
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        config: {
          mediaType: 'application/vnd.oci.image.config.v1+json',
          digest: digestOf(config),
          size: config.length,
        },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size }],
      }),
    );
    await this.#push(async (client) => {
      await pushBlob(client, config);
      const reference = { kind: 'tag', tag: parseTag('v1') } as const;
      await client.pushManifest(REPOSITORY, reference, manifest, OCI_MANIFEST);
    });
  }

  /** Opens the blob at the mirror of an agent, as a runtime does after the manifest. */
  async open(agent: Agent, digest: Digest): Promise<AsyncIterable<Buffer>> {
    const base = `${agent.mirrorUrls[0]}/v2/${NAME}`;
    const manifest = await request(`${base}/manifests/v1?ns=${HUB_NAME}`);
    await manifest.body.dump();
    const blob = await request(`${base}/blobs/${digest}?ns=${HUB_NAME}`, {
      headers: { 'user-agent': 'containerd/2' },
    });
    if (blob.statusCode !== 200) throw new Error(`${blob.statusCode} ${await blob.body.text()}`);
    return blob.body;
  }

  /** Waits until a metric of an agent, all labels together, is what it should be. */
  async untilMetric(agent: Agent, name: string, isSo: (value: number) => boolean): Promise<void> {
    await until(name, WAIT_MS, async () => {
      const value = (await metricsOf(agent.opsUrls[0])).sum(`flotilla_agent_${name}`);
      return isSo(value) ? true : undefined;
    });
  }

  /** Bytes that left the hub. */
  async sentBytes(): Promise<number> {
    const text = await this.#hub.metrics.text();
    const line = text.split('\n').find((one) => one.startsWith('flotilla_hub_blob_sent_bytes'));
    return Number(line?.split(' ').at(-1));
  }

  /** The hub stops, and begins anew at its address. `meanwhile` is what happens in between. */
  async restartHub(meanwhile: () => void): Promise<void> {
    const { host } = new URL(this.#url);
    await this.#stop();
    meanwhile();
    await this.#serve(host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.close()));
    await this.#stop();
    const { fleet, blobs, catalog } = this.#hub;
    await fleet.close();
    await blobs.close();
    await catalog.close();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #serve(listen: string): Promise<void> {
    const registry = this.#hub.begin();
    this.#app = fastify();
    this.#hub.fleet.routes(this.#app);
    await this.#app.ready();
    const app = this.#app;
    this.#registry = registry;
    this.#servers = await startServers(
      { listen: [listen] },
      {
        listener: (asked, answer) => {
          if (asked.url?.startsWith('/v2') === true) void registry.handle(asked, answer);
          else app.routing(asked, answer);
        },
        logger: LOGGER,
      },
    );
    this.#url = this.#servers.urls[0] ?? '';
  }

  async #stop(): Promise<void> {
    await this.#servers?.close();
    await this.#registry?.close();
    await this.#app.close();
  }

  async #addAgent(
    name: string,
    wrapContent: ((content: ContentReader) => ContentReader) | undefined,
  ): Promise<void> {
    const joinToken = await this.#hub.fleet.createJoinToken();
    const config = loadConfig(AgentOptions, {
      text: JSON.stringify({
        mirror: { listen: ['127.0.0.1:0'] },
        ops: { listen: ['127.0.0.1:0'] },
        swarm: { listen: ['127.0.0.1:0'], lanePort: 0 },
        hub: { url: this.#url, names: [HUB_NAME], joinToken, node: name },
        store: { dataDir: path.join(this.#folder, name), quota: '1GiB' },
      }),
      env: {},
    });
    const write = (line: string): void => void this.logged.push(JSON.parse(line));
    const logger = createLogger({ level: 'warn', name }, { write });
    const own = wrapContent === undefined ? { logger } : { logger, wrapContent };
    const agent = await startAgent(config, own);
    if (wrapContent === undefined) this.agents.push(agent);
    else this.agents.unshift(agent);
    await until(`${name} enrolled`, WAIT_MS, async () => {
      const { body } = await request(`${agent.opsUrls[0]}/readyz`);
      return JSON.stringify(await body.json()) === '{"status":"ok","reasons":[]}' || undefined;
    });
  }

  async #push(task: (client: RegistryClient) => Promise<void>): Promise<void> {
    const client = new RegistryClient({ baseUrl: this.#url, allowPlainHttp: false });
    try {
      await task(client);
    } finally {
      await client.close();
    }
  }
}

async function pushBlob(client: RegistryClient, bytes: Buffer): Promise<void> {
  const source = async function* source(): AsyncGenerator<Buffer> {
    yield bytes;
  };
  await client.pushBlob(REPOSITORY, digestOf(bytes), bytes.length, source);
}
