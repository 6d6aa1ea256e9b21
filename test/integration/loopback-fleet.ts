import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { request } from 'undici';
import { startAgent } from '../../agent/agent.ts';
import type { Agent } from '../../agent/agent.ts';
import { AgentOptions } from '../../agent/options.ts';
import type { AgentConfig } from '../../agent/options.ts';
import { startHub } from '../../hub/hub.ts';
import type { Hub } from '../../hub/hub.ts';
import { HubOptions } from '../../hub/options.ts';
import type { HubConfig } from '../../hub/options.ts';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseRepository, parseTag } from '../../proto/oci/name.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsSnapshot } from '../rig/metrics.ts';
import { until } from '../rig/until.ts';

export const HUB_NAME = 'hub.test';
export const ADMIN = { username: 'admin', password: 'correct horse battery' };
const READY_TIMEOUT_MS = 20_000;
const LOGGER = createLogger({ level: 'silent', name: 'test' });

export type TestImage = {
  repository: string;
  tag: string;
  digest: Digest;
  blobs: readonly { digest: Digest; size: number }[];
  bytes: number;
};

/** A hub and agents in this process, on free ports of loopback, with data in a temporary folder. */
export class LoopbackFleet implements AsyncDisposable {
  readonly folder: string;
  readonly agents: Agent[] = [];
  readonly #hubConfig: HubConfig;
  readonly #configs = new Map<Agent, AgentConfig>();
  #hub: Hub;
  #hubClosed = false;

  private constructor(hub: Hub, hubConfig: HubConfig, folder: string) {
    this.#hub = hub;
    this.#hubConfig = hubConfig;
    this.folder = folder;
  }

  get hub(): Hub {
    return this.#hub;
  }

  /** `sections` are added to the configuration of the hub. */
  static async start(agents: number, sections: object = {}): Promise<LoopbackFleet> {
    const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-fleet-'));
    const config = loadConfig(HubOptions, {
      text: JSON.stringify({
        http: { listen: ['127.0.0.1:0'] },
        ops: { listen: ['127.0.0.1:0'] },
        hub: { dataDir: path.join(folder, 'hub'), names: [HUB_NAME] },
        access: { adminUsername: ADMIN.username, adminPassword: ADMIN.password },
        ...sections,
      }),
      env: {},
    });
    const fleet = new LoopbackFleet(await startHub(config, { logger: LOGGER }), config, folder);
    const names = Array.from({ length: agents }, (_, index) => `n${index + 1}`);
    await Promise.all(names.map((name) => fleet.addAgent(name)));
    return fleet;
  }

  get hubUrl(): string {
    return this.hub.urls[0] ?? '';
  }

  /** Starts an agent and waits until it is enrolled. `sections` are added to its configuration. */
  async addAgent(name: string, sections: Record<string, object> = {}): Promise<Agent> {
    const joinToken = await this.hub.createJoinToken({ uses: 1 });
    const config = loadConfig(AgentOptions, {
      text: JSON.stringify({
        mirror: { listen: ['127.0.0.1:0'] },
        ops: { listen: ['127.0.0.1:0'] },
        swarm: { listen: ['127.0.0.1:0'], lanePort: 0 },
        hub: { url: this.hubUrl, names: [HUB_NAME], joinToken, node: name },
        store: { dataDir: path.join(this.folder, name), quota: '1GiB' },
        ...sections,
      }),
      env: {},
    });
    const agent = await startAgent(config, { logger: LOGGER });
    this.agents.push(agent);
    this.#configs.set(agent, config);
    await until(`${name} enrolled`, READY_TIMEOUT_MS, async () => {
      const { body } = await request(`${agent.opsUrls[0]}/readyz`);
      const check = await body.json();
      const isJoined = JSON.stringify(check) === '{"status":"ok","reasons":[]}';
      return isJoined ? true : undefined;
    });
    return agent;
  }

  /** Pushes an image with layers of these bytes to the hub. */
  async push(repository: string, tag: string, layers: readonly Buffer[]): Promise<TestImage> {
    const client = new RegistryClient({
      baseUrl: this.hubUrl,
      allowPlainHttp: false,
      credentials: ADMIN,
    });
    try {
      const config = Buffer.from(JSON.stringify({ made: repository }));
      const described = [config, ...layers].map((bytes) => ({
        bytes,
        digest: digestOf(bytes),
        size: bytes.length,
      }));
      const name = parseRepository(repository);
      for (const { bytes, digest, size } of described) {
        const source = async function* source(): AsyncGenerator<Buffer> {
          yield bytes;
        };
        await client.pushBlob(name, digest, size, source, {});
      }
      const manifest = Buffer.from(JSON.stringify(manifestOf(described)));
      const reference = { kind: 'tag', tag: parseTag(tag) } as const;
      await client.pushManifest(name, reference, manifest, OCI_MANIFEST, {});
      const digest = digestOf(manifest);
      const bytes = described.reduce((sum, blob) => sum + blob.size, manifest.length);
      const blobs = described.map((blob) => ({ digest: blob.digest, size: blob.size }));
      return { repository, tag, digest, blobs, bytes };
    } finally {
      await client.close();
    }
  }

  /** Asks the administration of the hub, as its admin. */
  async api(
    method: 'POST' | 'PUT' | 'PATCH',
    target: string,
    body: object,
  ): Promise<Record<string, string>> {
    const { status, text } = await this.ask(method, target, body);
    if (status >= 300) throw new Error(`${target}: ${status} ${text}`);
    const parsed: Record<string, string> = JSON.parse(text);
    return parsed;
  }

  /** The same whatever it answers, as somebody else if need be. */
  async ask(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    target: string,
    body?: object,
    login: { username: string; password: string } = ADMIN,
  ): Promise<{ status: number; text: string }> {
    const basic = Buffer.from(`${login.username}:${login.password}`).toString('base64');
    const json = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await request(`${this.hubUrl}/api/v1${target}`, {
      method,
      headers: { authorization: `Basic ${basic}`, ...json },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  async hubMetrics(): Promise<MetricsSnapshot> {
    return metricsOf(this.hub.opsUrls[0]);
  }

  /** Bytes all agents fetched from one kind of source. */
  async fetchedFrom(source: string): Promise<number> {
    const snapshots = await Promise.all(this.agents.map((agent) => metricsOf(agent.opsUrls[0])));
    const name = 'flotilla_agent_fetched_bytes_total';
    return snapshots.reduce((sum, snapshot) => sum + snapshot.sum(name, { source }), 0);
  }

  /** What the fleet calls an agent. */
  nameOf(agent: Agent): string {
    return this.#configOf(agent).hub.node ?? '';
  }

  /** Where an agent keeps what it knows of the fleet. */
  nodeFolder(agent: Agent): string {
    return path.join(this.#configOf(agent).store.dataDir, 'node');
  }

  /**
   * Stops an agent and starts it again with its data, whether or not there is a hub. `meanwhile` is
   * what happens to its folder.
   */
  async restart(agent: Agent, meanwhile?: (nodeFolder: string) => Promise<void>): Promise<Agent> {
    const config = this.#configOf(agent);
    await agent.close();
    await meanwhile?.(this.nodeFolder(agent));
    const again = await startAgent(config, { logger: LOGGER });
    this.agents[this.agents.indexOf(agent)] = again;
    this.#configs.set(again, config);
    return again;
  }

  #configOf(agent: Agent): AgentConfig {
    const config = this.#configs.get(agent);
    if (config === undefined) throw new Error('not an agent of this fleet');
    return config;
  }

  /** Starts the stopped hub again, with its data and at its address. */
  async restartHub(): Promise<void> {
    const listen = [new URL(this.hubUrl).host];
    const config = { ...this.#hubConfig, http: { ...this.#hubConfig.http, listen } };
    this.#hub = await startHub(config, { logger: LOGGER });
    this.#hubClosed = false;
  }

  async stopHub(): Promise<void> {
    if (this.#hubClosed) return;
    this.#hubClosed = true;
    await this.hub.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.agents.map((agent) => agent.close()));
    await this.stopHub();
    await rm(this.folder, { recursive: true, force: true });
  }
}

export async function metricsOf(opsUrl: string | undefined): Promise<MetricsSnapshot> {
  const { body } = await request(`${opsUrl}/metrics`);
  return new MetricsSnapshot(await body.text());
}

/** One answer of a mirror, its body as a digest and a length. */
export async function fetchDigest(
  url: string,
  headers: Record<string, string> = {},
): Promise<{
  status: number;
  digest: string;
  size: number;
  bytes: Buffer;
  challenge: string | undefined;
}> {
  const answer = await request(url, { headers });
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  let size = 0;
  for await (const piece of answer.body) {
    const bytes: Buffer = piece;
    hash.update(bytes);
    size += bytes.length;
    if (size <= 65_536) kept.push(bytes);
  }
  const bytes = Buffer.concat(kept);
  const challenge = answer.headers['www-authenticate'];
  return {
    status: answer.statusCode,
    digest: `sha256:${hash.digest('hex')}`,
    size,
    bytes,
    challenge: typeof challenge === 'string' ? challenge : undefined,
  };
}

/**
 * Pulls as containerd does: the manifest by tag or digest, then its blobs, three at a time.
 * @throws Error when a status or a digest is not what it has to be
 */
export async function pull(
  agent: Agent,
  image: TestImage,
  options: { by?: 'tag' | 'digest'; authorization?: string } = {},
): Promise<void> {
  const { authorization } = options;
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
  const base = `${agent.mirrorUrls[0]}/v2/${image.repository}`;
  const reference = options.by === 'digest' ? image.digest : image.tag;
  const manifest = await fetchDigest(`${base}/manifests/${reference}?ns=${HUB_NAME}`, headers);
  if (manifest.digest !== image.digest) {
    throw new Error(`manifest: ${manifest.status}, ${manifest.bytes.toString()}`);
  }
  await Promise.all(
    image.blobs.map(async ({ digest, size }) => {
      const blob = await fetchDigest(`${base}/blobs/${digest}?ns=${HUB_NAME}`, headers);
      if (blob.status !== 200 || blob.digest !== digest || blob.size !== size) {
        throw new Error(`blob ${digest}: ${blob.status}, ${blob.size} of ${size} bytes`);
      }
    }),
  );
}

function manifestOf(described: readonly { digest: Digest; size: number }[]): object {
  const [config, ...layers] = described;
  return {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config?.digest,
      size: config?.size,
    },
    layers: layers.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    })),
  };
}
