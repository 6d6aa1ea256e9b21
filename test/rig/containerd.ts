import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Cri } from './cri.ts';
import type { Machine } from './network.ts';
import { attempt, run } from './processes.ts';
import type { Running, RunResult } from './processes.ts';
import { killUsersOf } from './scratch.ts';

const READY_TIMEOUT_MS = 20_000;
const PULL_TIMEOUT_MS = 180_000;

/** Where containerd looks for an image host: mirrors in order, then the server itself. */
export type Hosts = { mirrors: readonly string[]; server: string };

/** A real containerd on one machine of the test network, with everything in its own folder. */
export class Containerd {
  readonly machine: Machine;
  readonly folder: string;
  readonly cri: Cri;
  #process: Running | undefined;

  constructor(machine: Machine, folder: string) {
    this.machine = machine;
    this.folder = folder;
    this.cri = new Cri(this.socket);
  }

  get socket(): string {
    return path.join(this.folder, 'containerd.sock');
  }

  get #hostsFolder(): string {
    return path.join(this.folder, 'certs.d');
  }

  /** Starts containerd. The sandbox image is pulled through the mirror like any other. */
  async start(options: { sandboxImage: string; hosts: Hosts }): Promise<void> {
    const { folder, machine } = this;
    const config = path.join(folder, 'config.toml');
    await mkdir(path.join(folder, 'cni'), { recursive: true });
    await writeFile(config, configOf(folder, options.sandboxImage, machine.loopbackHost));
    await this.setHosts(options.hosts);
    this.#process = machine.start(['containerd', '--config', config], {
      name: `containerd on ${machine.name}`,
      logFile: path.join(folder, 'log'),
    });
    await this.#process.waitForOutput(/containerd successfully booted/, READY_TIMEOUT_MS);
  }

  /** Rewrites hosts.toml for every image host. containerd reads it anew at each pull. */
  async setHosts(hosts: Hosts): Promise<void> {
    const lines = [`server = "${hosts.server}"`];
    if (hosts.mirrors.length > 0) lines.push('[host]');
    for (const mirror of hosts.mirrors) {
      // Not a table header: the TOML reader of containerd 1.6 takes no `]` of IPv6 in there.
      lines.push(`  "${mirror}" = { capabilities = ["pull", "resolve"] }`);
    }
    const folder = path.join(this.#hostsFolder, '_default');
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'hosts.toml'), `${lines.join('\n')}\n`);
  }

  /** `ctr images pull` as a user would type it. */
  async pull(image: string, options: { timeoutMs?: number } = {}): Promise<void> {
    const result = await this.attemptPull(image, options);
    if (result.code !== 0) {
      const text = `${result.stderr}${result.stdout}`.slice(-2000);
      throw new Error(`ctr pull of ${image} on ${this.machine.name} failed: ${text}`);
    }
  }

  async attemptPull(image: string, options: { timeoutMs?: number } = {}): Promise<RunResult> {
    const timeoutMs = options.timeoutMs ?? PULL_TIMEOUT_MS;
    return attempt(this.#ctr('images', 'pull', '--hosts-dir', this.#hostsFolder, image), {
      timeoutMs,
    });
  }

  /** Runs a command in a container of a pulled image; returns its output. */
  async runContainer(image: string, command: readonly string[]): Promise<string> {
    const id = `t${process.hrtime.bigint()}`;
    const result = await run(this.#ctr('run', '--rm', image, id, ...command));
    return result.stdout;
  }

  /** Forgets an image and waits until its bytes are gone, so that the next pull fetches all. */
  async remove(image: string): Promise<void> {
    for (const namespace of ['default', 'k8s.io']) {
      await attempt(['ctr', '-a', this.socket, '-n', namespace, 'images', 'rm', '--sync', image]);
    }
  }

  get contentFolder(): string {
    return path.join(this.folder, 'root', 'io.containerd.content.v1.content');
  }

  /** The content store's file of a digest. */
  blobPath(digest: string): string {
    const [algorithm = '', hex = ''] = digest.split(':');
    return path.join(this.contentFolder, 'blobs', algorithm, hex);
  }

  /** Hashes a blob as it lies in the content store. Throws when it is not there. */
  async digestOfStored(digest: string): Promise<string> {
    const hash = createHash('sha256');
    await pipeline(createReadStream(this.blobPath(digest)), hash);
    return `sha256:${hash.digest('hex')}`;
  }

  async stop(): Promise<void> {
    this.cri.close();
    await this.#process?.stop();
    killUsersOf(this.folder);
  }

  #ctr(...args: string[]): string[] {
    // Inside the machine's network, because ctr itself talks to the registries.
    return this.machine.inside(['ctr', '-a', this.socket, ...args]);
  }
}

function configOf(folder: string, sandboxImage: string, loopbackHost: string): string {
  const disabled = ['btrfs', 'zfs', 'devmapper', 'aufs']
    .map((name) => `"io.containerd.snapshotter.v1.${name}"`)
    .join(', ');
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = [${disabled}]
[grpc]
  address = "${folder}/containerd.sock"
[ttrpc]
  address = "${folder}/containerd.sock.ttrpc"
[${cri}]
  sandbox_image = "${sandboxImage}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "${loopbackHost.replace(/[[\]]/g, '')}"
  stream_server_port = "0"
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [${cri}.registry]
    config_path = "${folder}/certs.d"
  [${cri}.containerd]
    snapshotter = "overlayfs"
    [${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [${cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
}
