import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { Containerd } from './containerd.ts';
import { ADMIN, HUB_NAME, agentConfig, hubConfig } from './fleet-config.ts';
import { HUB_PORT, MIRROR_PORT, Program } from './flotilla.ts';
import type { ConfigFile } from './flotilla.ts';
import { makeImage } from './images.ts';
import type { Image } from './images.ts';
import { HUB_MACHINE_NAME, MACHINE_NETWORKS, Network } from './network.ts';
import type { Family, Machine } from './network.ts';
import { Scratch } from './scratch.ts';
import * as skopeo from './skopeo.ts';
import { until } from './until.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';
import { Worker } from './worker.ts';

const TOKEN_EXPIRES_MS = 3_600_000;
const KNOWN_TIMEOUT_MS = 30_000;
/** Nodes that start at the same time; more would make each other late on a small machine. */
const STARTS_AT_ONCE_MAX = 4;
const SANDBOX_IMAGE = `${HUB_NAME}/rig/pause:1`;

export type FleetOptions = {
  nodes: number;
  family?: Family;
  /** Without it there is only the hub and the agents. */
  containerd?: boolean;
  /** Agents reach the hub through a faulting proxy on this port; without it directly. */
  hubPortForAgents?: number;
  /** The hub's data lies on a file system of this size in memory, to be filled up. */
  hubDiskBytes?: number;
  /** Likewise for each agent. */
  agentDiskBytes?: number;
  /** Agents share what lies in the content folder of their containerd. */
  shareContainerd?: boolean;
  /** Added to the configuration of every agent, section by section. */
  agentChanges?: ConfigFile;
  /** Likewise to that of the hub. */
  hubChanges?: ConfigFile;
  /** Variables of the environment of the hub beside those of this process. */
  hubEnv?: Record<string, string | undefined>;
  /** A stand-in of Docker Hub has a machine of its own, and the hub is told of it. */
  upstream?: UpstreamOptions;
  /** Starts something else where the hub is looked for; it ends what it started by `stops`. */
  startHub?: (
    scratch: Scratch,
    machine: Machine,
    stops: Stops,
    changes: ConfigFile,
  ) => Promise<Program>;
};

/** What ends the programs of a fleet; called in reverse. */
export type Stops = (() => Promise<unknown>)[];

export type FleetNode = {
  machine: Machine;
  worker: Worker;
  agent: Program;
  containerd: Containerd;
};

/** A hub and N nodes on one machine, each with its own network, agent and containerd. */
export class Fleet implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly network: Network;
  readonly hub: Program;
  readonly nodes: readonly FleetNode[];
  readonly #upstream: Upstream | undefined;
  readonly #stops: (() => Promise<unknown>)[];

  private constructor(
    parts: Pick<Fleet, 'scratch' | 'network' | 'hub' | 'nodes'>,
    upstream: Upstream | undefined,
    stops: (() => Promise<unknown>)[],
  ) {
    this.scratch = parts.scratch;
    this.network = parts.network;
    this.hub = parts.hub;
    this.nodes = parts.nodes;
    this.#upstream = upstream;
    this.#stops = stops;
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const scratch = Scratch.open();
    const stops: (() => Promise<unknown>)[] = [];
    try {
      const network = await Network.create(scratch, options);
      const upstream =
        network.upstream &&
        (await Upstream.start(scratch, network.upstream, options.upstream ?? {}, stops));
      const changes = { ...options.hubChanges, ...upstream?.hubSections };
      const hub = await (options.startHub === undefined
        ? startHub(scratch, network.hub, { ...options, hubChanges: changes }, stops)
        : options.startHub(scratch, network.hub, stops, changes));
      const token = await createJoinToken(hub);
      const turns = new Semaphore({ permits: STARTS_AT_ONCE_MAX, queueMax: options.nodes });
      const nodes = await Promise.all(
        network.nodes.map(async (machine) => {
          using turn = await turns.acquire();
          void turn;
          return await startNode(scratch, machine, hub, token, options, stops);
        }),
      );
      await Promise.all(nodes.map(({ agent }) => knowsOthers(agent, nodes.length - 1)));
      const fleet = new Fleet({ scratch, network, hub, nodes }, upstream, stops);
      if (options.containerd !== false) {
        await fleet.push(await makeImage(scratch, 'pause', []), 'rig/pause:1');
      }
      return fleet;
    } catch (err) {
      await closeAll(stops, scratch);
      throw err;
    }
  }

  /** The registry that is none of ours. */
  get upstream(): Upstream {
    if (this.#upstream === undefined) throw new Error('the fleet has no upstream');
    return this.#upstream;
  }

  /** The node of a number, counted from 1 like their names. */
  node(number: number): FleetNode {
    const node = this.nodes[number - 1];
    if (!node) throw new Error(`there is no node n${number}`);
    return node;
  }

  /** Pushes an image to the hub with skopeo; returns the name containerd pulls it by. */
  async push(image: Image, name: string): Promise<string> {
    // By name, because skopeo cannot read an address literal of IPv6.
    await skopeo.push(this.hub.machine, image, `${HUB_MACHINE_NAME}:${HUB_PORT}/${name}`, ADMIN);
    return `${HUB_NAME}/${name}`;
  }

  /** Makes an image with layers of these sizes and pushes it. */
  async publish(name: string, layerBytes: readonly number[]): Promise<Published> {
    const image = await makeImage(this.scratch, name, layerBytes);
    const reference = await this.push(image, `test/${name}:v1`);
    const byDigest = `${HUB_NAME}/test/${name}@${image.manifestDigest}`;
    return { ...image, reference, byDigest, repository: `test/${name}` };
  }

  /** Undoes what a test did to the fleet: links, faults, programs that stand or are gone. */
  async restore(): Promise<void> {
    await this.hub.worker.setFault({ action: 'none', afterBytes: 0, times: 0 });
    for (const { machine } of [this.hub, ...this.nodes]) {
      await machine.link('up');
      await machine.shape(undefined);
    }
    for (const program of [this.hub, ...this.nodes.map((node) => node.agent)]) {
      await program.restore();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#stops, this.scratch);
  }
}

export type Published = Image & { reference: string; byDigest: string; repository: string };

/** What containerd is told on a node: its own agent first, then the hub itself. */
export function hostsOf(machine: Machine, hub: Machine): { mirrors: string[]; server: string } {
  return {
    mirrors: [`http://${machine.loopbackHost}:${MIRROR_PORT}`],
    server: `http://${hub.urlHost}:${HUB_PORT}`,
  };
}

/** Throws unless every blob of the image lies in containerd's store with its own digest. */
export async function assertBytes(
  containerd: Containerd,
  image: Pick<Image, 'manifestDigest' | 'config' | 'layers'>,
): Promise<void> {
  const digests = [image.manifestDigest, image.config.digest, ...image.layers.map((l) => l.digest)];
  for (const digest of digests) {
    const found = await containerd.digestOfStored(digest);
    if (found !== digest) {
      throw new Error(`${containerd.machine.name} stored ${found} under the name ${digest}`);
    }
  }
}

async function startHub(
  scratch: Scratch,
  machine: Machine,
  options: FleetOptions,
  stops: (() => Promise<unknown>)[],
): Promise<Program> {
  const worker = await Worker.start(machine);
  stops.push(() => worker.stop());
  const folder = await scratch.make('hub');
  const dataFolder = await scratch.disk(options.hubDiskBytes, 'hub', 'data');
  const externalUrl = `http://${machine.urlHost}:${HUB_PORT}`;
  const config = hubConfig({ dataFolder, externalUrl });
  if (options.hubPortForAgents !== undefined) {
    config['fleet'] = { addressCidrs: [...MACHINE_NETWORKS] };
  }
  change(config, options.hubChanges);
  const hub = new Program({ kind: 'hub', machine, folder, worker, config, env: options.hubEnv });
  stops.push(() => hub.stop());
  await hub.start();
  const listenPort = options.hubPortForAgents;
  if (listenPort !== undefined) {
    await worker.openProxy({ listenPort, host: machine.address, port: HUB_PORT });
  }
  return hub;
}

async function startNode(
  scratch: Scratch,
  machine: Machine,
  hub: Program,
  token: string,
  options: FleetOptions,
  stops: (() => Promise<unknown>)[],
): Promise<FleetNode> {
  const folder = await scratch.make(machine.name);
  const dataFolder = await scratch.disk(options.agentDiskBytes, machine.name, 'data');
  await writeFile(path.join(folder, 'join-token'), token);
  const port = options.hubPortForAgents ?? HUB_PORT;
  const hubUrl = `http://${hub.machine.urlHost}:${port}`;
  const config = agentConfig({
    node: machine.name,
    dataFolder,
    hubUrl,
    address: machine.address,
  });
  const containerd = new Containerd(machine, await scratch.make('containerd', machine.name));
  if (options.shareContainerd === true) {
    change(config, { store: { containerdContent: containerd.contentFolder } });
  }
  change(config, options.agentChanges);
  const worker = await Worker.start(machine);
  stops.push(() => worker.stop());
  const agent = new Program({ kind: 'agent', machine, folder, worker, config });
  stops.push(() => agent.stop());
  await agent.start();
  const hosts = hostsOf(machine, hub.machine);
  const sandboxImage = SANDBOX_IMAGE;
  if (options.containerd !== false) {
    stops.push(() => containerd.stop());
    await containerd.start({ sandboxImage, hosts });
  }
  return { machine, worker, agent, containerd };
}

/** Adds to a configuration, section by section; a list takes the place of the one before. */
export function change(config: ConfigFile, changes: ConfigFile = {}): void {
  for (const [section, values] of Object.entries(changes)) {
    const isList = Array.isArray(values);
    config[section] = isList ? values : Object.assign({}, config[section], values);
  }
}

/** A node learns of those that join after it when it next asks the hub. */
async function knowsOthers(agent: Program, others: number): Promise<void> {
  await until('the agents to know each other', KNOWN_TIMEOUT_MS, async () => {
    const metrics = await agent.metrics();
    return metrics.sum('flotilla_agent_fleet_members') >= others ? true : undefined;
  });
}

/** Asks the hub, as its admin, for a token that lets nodes enrol. */
export async function createJoinToken(hub: Program): Promise<string> {
  const { username, password } = ADMIN;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  const url = `http://${hub.machine.loopbackHost}:${HUB_PORT}/api/v1/join-tokens`;
  const answer = await hub.worker.http(url, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ expiresInMs: TOKEN_EXPIRES_MS, uses: 100 }),
  });
  const match = /"token"\s*:\s*"([^"]+)"/.exec(answer.body.toString());
  if (!match?.[1]) throw new Error(`no join token: ${answer.status} ${answer.body.toString()}`);
  return match[1];
}

/** Stops in reverse order, each even when another failed, and removes what is on disk. */
async function closeAll(stops: (() => Promise<unknown>)[], scratch: Scratch): Promise<void> {
  for (const stop of stops.splice(0).reverse()) await stop().catch(() => {});
  scratch.close();
}
