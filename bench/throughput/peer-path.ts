import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generateImage } from '../demo/generated-image.ts';
import { pushImage } from '../demo/push.ts';
import { scrape } from '../demo/scrape.ts';
import { cpuSeconds, residentBytes } from '../rig/cpu.ts';
import { touchPages } from '../rig/page-cache.ts';
import { joinToken, Programs, type Program } from '../rig/programs.ts';

const FIRST_PORT = 7400;
const HUB_NAME = 'hub.bench';
const PASSWORD = 'bench';
const REPOSITORY = 'bench/throughput';
const JOINS = 1_000;
const PUSH_TIMEOUT_MS = 30 * 60_000;
/** Hub, sender and measuring client share a core; the receiver has the other to itself. */
const SENDER_CORE = ['taskset', '-c', '0'];
const RECEIVER_CORE = ['taskset', '-c', '1'];

/** How chunks travel in one variant. */
export type Variant = { name: string; swarm: object; command?: readonly string[] };
export type PathResult = { seconds: number; senderCpu: number; receiverCpu: number; bytes: number };
export type Layer = { digest: string; size: number };

/** A hub, and for each variant one agent that holds the layers: who sends in the peer path. */
export class PeerPath {
  readonly #folder: string;
  readonly #programs: Programs;
  readonly #hub: Program;
  readonly #tokenFile: string;
  readonly #senders = new Map<string, Program>();
  readonly #held = new Set<string>();
  #count = 0;

  private constructor(
    folder: string,
    parts: { programs: Programs; hub: Program; tokenFile: string },
  ) {
    this.#folder = folder;
    this.#programs = parts.programs;
    this.#hub = parts.hub;
    this.#tokenFile = parts.tokenFile;
  }

  static async start(folder: string): Promise<PeerPath> {
    const programs = new Programs(folder);
    const hub = await programs.start({
      kind: 'hub',
      name: 'hub',
      from: FIRST_PORT,
      wrap: SENDER_CORE,
      configOf: ({ port, ops }) => ({
        http: { listen: [`127.0.0.1:${port}`] },
        ops: { listen: [`127.0.0.1:${ops}`] },
        hub: { dataDir: path.join(folder, 'hub', 'data'), names: [HUB_NAME] },
        access: { adminPassword: PASSWORD },
      }),
    });
    const tokenFile = path.join(folder, 'join-token');
    await writeFile(tokenFile, await joinToken(hub.url, PASSWORD, JOINS), { mode: 0o600 });
    return new PeerPath(folder, { programs, hub, tokenFile });
  }

  /** Pushes an image whose largest layer has `size` bytes; returns that layer. */
  async push(size: number, tag: string): Promise<Layer> {
    const credentials = { username: 'admin', password: PASSWORD };
    const target = { url: this.#hub.url, credentials, repository: REPOSITORY, tag };
    const image = generateImage(size);
    await pushImage(target, image, AbortSignal.timeout(PUSH_TIMEOUT_MS));
    const [largest] = image.blobs.toSorted((a, b) => b.size - a.size);
    if (largest === undefined) throw new Error('the generated image has no layer');
    return { digest: largest.digest, size: largest.size };
  }

  /** The one agent of this variant that sends. */
  async #sender(variant: Variant): Promise<Program> {
    const running = this.#senders.get(variant.name);
    if (running !== undefined) return running;
    const sender = await this.#agent(`sender-${variant.name}`, variant, SENDER_CORE);
    this.#senders.set(variant.name, sender);
    return sender;
  }

  /** Where the hub keeps the bytes of a layer. */
  fileOf({ digest }: Layer): string {
    const hex = digest.slice(digest.indexOf(':') + 1);
    const blobs = path.join(this.#folder, 'hub', 'data', 'registry', 'blobs', 'sha256');
    return path.join(blobs, hex.slice(0, 2), hex);
  }

  /** A fresh agent fetches `layer` from the sender while curl reads it; then the caller's turn. */
  async measure(
    variant: Variant,
    layers: { warmUp: Layer; layer: Layer; readers?: number },
    then?: (receiver: Program) => Promise<void>,
  ): Promise<PathResult> {
    const { warmUp, layer } = layers;
    const sender = await this.#sender(variant);
    for (const one of [warmUp, layer]) {
      const key = `${variant.name} ${one.digest}`;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (!this.#held.has(key)) await fetchBlob(sender, one);
      this.#held.add(key);
    }
    const name = `receiver-${++this.#count}`;
    const receiver = await this.#agent(name, variant, RECEIVER_CORE);
    try {
      await fetchBlob(receiver, warmUp);
      await touchPages(this.#folder, layer.size);
      const before = await peerBytes(receiver);
      const [a, b] = [pidOf(sender), pidOf(receiver)];
      const cpu = { a: cpuSeconds(a), b: cpuSeconds(b) };
      const readers = Array.from({ length: layers.readers ?? 1 }, () => fetchBlob(receiver, layer));
      const seconds = Math.max(...(await Promise.all(readers)));
      const senderCpu = cpuSeconds(a) - cpu.a;
      const receiverCpu = cpuSeconds(b) - cpu.b;
      const bytes = (await peerBytes(receiver)) - before;
      if (bytes < layer.size * 0.99) {
        throw new Error(`${name} took ${bytes} of ${layer.size} bytes from the peer`);
      }
      await then?.(receiver);
      return { seconds, senderCpu, receiverCpu, bytes: layer.size };
    } finally {
      await this.remove(receiver);
    }
  }

  /** What another program needs to join the fleet: hub, file with a join token, data folder. */
  get joining(): readonly string[] {
    return [this.#hub.url, this.#tokenFile, path.join(this.#folder, 'joining')];
  }

  /** An agent without content. */
  agent(name: string, variant: Variant): Promise<Program> {
    return this.#agent(name, variant, RECEIVER_CORE);
  }

  /** Stops an agent and removes what it stored. */
  async remove(agent: Program): Promise<void> {
    await this.#programs.stop(agent);
    await rm(path.join(this.#folder, agent.name), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#programs.stopAll();
  }

  #agent(name: string, variant: Variant, wrap: readonly string[]): Promise<Program> {
    return this.#programs.start({
      kind: 'agent',
      name,
      from: FIRST_PORT,
      wrap,
      command: variant.command,
      configOf: ({ port, ops, swarm }) => ({
        mirror: { listen: [`127.0.0.1:${port}`] },
        ops: { listen: [`127.0.0.1:${ops}`] },
        swarm: { listen: [`127.0.0.1:${swarm}`], lanePort: 0, ...variant.swarm },
        hub: {
          url: this.#hub.url,
          names: [HUB_NAME],
          joinTokenFile: this.#tokenFile,
          node: name,
        },
        store: { dataDir: path.join(this.#folder, name, 'data') },
      }),
    });
  }
}

/** curl on the sender's core reads a blob from the mirror; the seconds it took. */
export async function fetchBlob(agent: Program, layer: Layer): Promise<number> {
  return curl(`${agent.url}/v2/${REPOSITORY}/blobs/${layer.digest}?ns=${HUB_NAME}`, layer.size);
}

/**
 * Reads `url` with curl on the sender's core and throws the bytes away.
 * @throws Error when the answer is not 200 with exactly `size` bytes
 */
export async function curl(url: string, size: number): Promise<number> {
  const format = '%{http_code} %{size_download} %{time_total}';
  const pinned = SENDER_CORE.slice(1);
  const args = [...pinned, 'curl', '-sS', '-o', '/dev/null', '-w', format, url];
  const child = spawn('taskset', args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const parts: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => parts.push(bytes));
  await once(child, 'close');
  const [code, bytes, seconds] = Buffer.concat(parts).toString().split(' ');
  if (code !== '200' || Number(bytes) !== size) {
    throw new Error(`GET ${url} answered ${code} with ${bytes} of ${size} bytes`);
  }
  return Number(seconds);
}

export function pidOf(program: Program): number {
  if (program.child.pid === undefined) throw new Error(`${program.name} does not run`);
  return program.child.pid;
}

export function peakRssBytes(program: Program): number {
  return residentBytes(pidOf(program)).peak;
}

async function peerBytes(agent: Program): Promise<number> {
  const metrics = await scrape(`${agent.opsUrl}/metrics`);
  return metrics.sum('flotilla_agent_fetched_bytes_total', { source: 'peer' });
}
