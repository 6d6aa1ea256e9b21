import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { attempt, run, start } from './processes.ts';
import type { Running, StartOptions } from './processes.ts';
import type { Scratch } from './scratch.ts';

const V4_PREFIX = '10.77.0.';
const V6_PREFIX = 'fd00:77::';
/** The networks all machines are in. */
export const MACHINE_NETWORKS = [`${V4_PREFIX}0/24`, `${V6_PREFIX}/64`];
const HUB_HOST = 100;
/** What programs on the machines call the hub's machine. */
export const HUB_MACHINE_NAME = 'hub.test';
/** Room for short bursts in the token bucket that shapes a link. */
const SHAPER_BURST = '256kb';
const SHAPER_LATENCY = '50ms';

export type Family = 'dual' | 'ipv4' | 'ipv6';

/** One machine of the test network: a network namespace with a loopback and one link, eth0. */
export class Machine {
  readonly name: string;
  readonly netns: string;
  readonly v4: string;
  readonly v6: string;
  readonly #switchNetns: string;
  readonly #family: Family;
  readonly #hostsFile: string;

  constructor(scratch: Scratch, name: string, host: number, family: Family) {
    this.name = name;
    this.netns = `${scratch.netnsPrefix}${name}`;
    this.#switchNetns = `${scratch.netnsPrefix}sw`;
    this.v4 = `${V4_PREFIX}${host}`;
    this.v6 = `${V6_PREFIX}${host}`;
    this.#family = family;
    this.#hostsFile = path.join(scratch.folder, 'hosts');
  }

  /** The address others reach this machine at. */
  get address(): string {
    return this.#family === 'ipv6' ? this.v6 : this.v4;
  }

  /** The address as it stands in a URL. */
  get urlHost(): string {
    return this.#family === 'ipv6' ? `[${this.v6}]` : this.v4;
  }

  get loopbackHost(): string {
    return this.#family === 'ipv6' ? '[::1]' : '127.0.0.1';
  }

  /**
   * The command, to be run in this machine's network. nsenter leaves the mounts alone, while
   * `ip netns exec` would hide the cgroups that runc needs.
   */
  inside(command: readonly string[]): string[] {
    return ['nsenter', `--net=/run/netns/${this.netns}`, ...command];
  }

  /** Likewise, and the name of the hub machine resolves, as if there were a DNS. */
  insideWithNames(command: readonly string[]): string[] {
    const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
    return this.inside(['unshare', '--mount', 'sh', '-c', script, this.#hostsFile, ...command]);
  }

  start(command: readonly string[], options: StartOptions): Running {
    return start(this.inside(command), options);
  }

  async connect(): Promise<void> {
    const { netns } = this;
    const port = `v-${this.name}`;
    const lines = [
      `link add ${port} netns ${this.#switchNetns} type veth peer name eth0 netns ${netns}`,
    ];
    await run(['ip', 'netns', 'add', netns]);
    await run(['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
    await run(['ip', '-n', this.#switchNetns, 'link', 'set', port, 'master', 'br0', 'up']);
    const setup = ['link set lo up'];
    if (this.#family === 'ipv6') setup.push('addr del 127.0.0.1/8 dev lo');
    if (this.#family !== 'ipv6') setup.push(`addr add ${this.v4}/24 dev eth0`);
    // Without duplicate address detection the address is usable at once.
    if (this.#family !== 'ipv4') setup.push(`addr add ${this.v6}/64 dev eth0 nodad`);
    setup.push('link set eth0 up');
    await run(['ip', '-n', netns, '-batch', '-'], { input: `${setup.join('\n')}\n` });
  }

  /** Limits what the machine sends. `mbit` undefined lifts the limit. */
  async shape(mbit: number | undefined): Promise<void> {
    const base = ['tc', '-n', this.netns, 'qdisc'];
    if (mbit === undefined) {
      // Fails when there is no limit to lift.
      await attempt([...base, 'del', 'dev', 'eth0', 'root']);
      return;
    }
    const shaper = ['tbf', 'rate', `${mbit}mbit`, 'burst', SHAPER_BURST, 'latency', SHAPER_LATENCY];
    await run([...base, 'replace', 'dev', 'eth0', 'root', ...shaper]);
  }

  /** Pulls the machine's cable, or plugs it in again. */
  async link(state: 'up' | 'down'): Promise<void> {
    await run(['ip', '-n', this.#switchNetns, 'link', 'set', `v-${this.name}`, state]);
  }

  /** Bytes that went over the link since the machine exists, link headers included. */
  async traffic(): Promise<{ sentBytes: number; receivedBytes: number }> {
    const command = ['ip', '-n', this.netns, '-s', '-j', 'link', 'show', 'eth0'];
    const { stdout } = await run(command);
    const bytes = (kind: 'rx' | 'tx'): number => {
      const match = new RegExp(`"${kind}":\\{"bytes":(\\d+)`).exec(stdout);
      if (!match) throw new Error(`no ${kind} counter of eth0 in ${this.netns}: ${stdout}`);
      return Number(match[1]);
    };
    return { sentBytes: bytes('tx'), receivedBytes: bytes('rx') };
  }
}

/** A switch, a hub machine and nodes n1..nN, apart from the machine's own network. */
export class Network {
  readonly hub: Machine;
  readonly nodes: readonly Machine[];

  private constructor(hub: Machine, nodes: readonly Machine[]) {
    this.hub = hub;
    this.nodes = nodes;
  }

  static async create(
    scratch: Scratch,
    options: { nodes: number; family?: Family },
  ): Promise<Network> {
    const family = options.family ?? 'dual';
    const netns = `${scratch.netnsPrefix}sw`;
    await run(['ip', 'netns', 'add', netns]);
    const setup = 'link set lo up\nlink add br0 type bridge\nlink set br0 up\n';
    await run(['ip', '-n', netns, '-batch', '-'], { input: setup });
    const hub = new Machine(scratch, 'hub', HUB_HOST, family);
    const nodes = Array.from(
      { length: options.nodes },
      (_, index) => new Machine(scratch, `n${index + 1}`, index + 1, family),
    );
    const names = ['127.0.0.1 localhost', '::1 localhost', `${hub.address} ${HUB_MACHINE_NAME}`];
    await writeFile(path.join(scratch.folder, 'hosts'), `${names.join('\n')}\n`);
    for (const machine of [hub, ...nodes]) await machine.connect();
    return new Network(hub, nodes);
  }
}
