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
const UPSTREAM_HOST = 240;
const PORT_PREFIX = 'v-';
/** The second switch, and the two ends of the line to it. */
const FAR_SWITCH = 'br1';
const TRUNK = ['t-near', 't-far'] as const;
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
  /** The names that programs see which run with names. */
  readonly hostsFile: string;

  constructor(scratch: Scratch, name: string, host: number, family: Family) {
    this.name = name;
    this.netns = `${scratch.netnsPrefix}${name}`;
    this.#switchNetns = `${scratch.netnsPrefix}sw`;
    this.v4 = `${V4_PREFIX}${host}`;
    this.v6 = `${V6_PREFIX}${host}`;
    this.#family = family;
    this.hostsFile = path.join(scratch.folder, 'hosts');
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
    return this.inside(['unshare', '--mount', 'sh', '-c', script, this.hostsFile, ...command]);
  }

  start(command: readonly string[], options: StartOptions): Running {
    return start(this.inside(command), options);
  }

  async connect(): Promise<void> {
    const { netns } = this;
    const port = this.#port;
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

  /** Gives the machine another address, as `urlHost` has it, of this number. */
  async addAddress(host: number): Promise<string> {
    const isV6 = this.#family === 'ipv6';
    const address = `${isV6 ? V6_PREFIX : V4_PREFIX}${host}`;
    const nodad = isV6 ? ['nodad'] : [];
    const where = [`${address}/${isV6 ? 64 : 24}`, 'dev', 'eth0', ...nodad];
    await run(['ip', '-n', this.netns, 'addr', 'add', ...where]);
    return isV6 ? `[${address}]` : address;
  }

  /** Limits what the machine sends. `mbit` undefined lifts the limit. */
  async shape(mbit: number | undefined): Promise<void> {
    await shapeDevice(this.netns, 'eth0', mbit);
  }

  /** Limits what the machine receives. `mbit` undefined lifts the limit. */
  async shapeDown(mbit: number | undefined): Promise<void> {
    await shapeDevice(this.#switchNetns, this.#port, mbit);
  }

  /** Pulls the machine's cable, or plugs it in again. */
  async link(state: 'up' | 'down'): Promise<void> {
    await run(['ip', '-n', this.#switchNetns, 'link', 'set', this.#port, state]);
  }

  /** The machine's port on the switch. */
  get #port(): string {
    return `${PORT_PREFIX}${this.name}`;
  }

  /** Bytes that went over the link since the machine exists, link headers included. */
  async traffic(): Promise<Traffic> {
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

async function shapeDevice(netns: string, device: string, mbit: number | undefined): Promise<void> {
  const base = ['tc', '-n', netns, 'qdisc'];
  if (mbit === undefined) {
    // Fails when there is no limit to lift.
    await attempt([...base, 'del', 'dev', device, 'root']);
    return;
  }
  const shaper = ['tbf', 'rate', `${mbit}mbit`, 'burst', SHAPER_BURST, 'latency', SHAPER_LATENCY];
  await run([...base, 'replace', 'dev', device, 'root', ...shaper]);
}

/** Bytes that went over a machine's link since the machine exists, link headers included. */
type Traffic = { sentBytes: number; receivedBytes: number };
/** Likewise, and in how many packets; one that the kernel has not cut yet counts as one. */
export type PortTraffic = Traffic & { sentPackets: number; receivedPackets: number };

/** What `ip -s -j link` prints of one device. */
type Counter = { bytes: number; packets: number };
type Device = { ifname?: string; stats64?: { rx?: Counter; tx?: Counter } };

/** A switch, a hub, nodes n1..nN, perhaps an upstream, apart from the network of this machine. */
export class Network {
  readonly hub: Machine;
  readonly nodes: readonly Machine[];
  /** The machine of a registry that is none of ours, if one was asked for. */
  readonly upstream: Machine | undefined;
  readonly #switchNetns: string;

  private constructor(machines: Pick<Network, 'hub' | 'nodes' | 'upstream'>, switchNetns: string) {
    this.hub = machines.hub;
    this.nodes = machines.nodes;
    this.upstream = machines.upstream;
    this.#switchNetns = switchNetns;
  }

  /** What every machine sent and received so far, by its name, all at one moment. */
  async traffic(): Promise<Map<string, PortTraffic>> {
    const { stdout } = await run(['ip', '-n', this.#switchNetns, '-s', '-j', 'link', 'show']);
    const devices: Device[] = JSON.parse(stdout);
    const found = new Map<string, PortTraffic>();
    for (const { ifname = '', stats64 } of devices) {
      if (!ifname.startsWith(PORT_PREFIX)) continue;
      // What the switch receives on the port is what the machine sent.
      found.set(ifname.slice(PORT_PREFIX.length), {
        sentBytes: stats64?.rx?.bytes ?? 0,
        sentPackets: stats64?.rx?.packets ?? 0,
        receivedBytes: stats64?.tx?.bytes ?? 0,
        receivedPackets: stats64?.tx?.packets ?? 0,
      });
    }
    return found;
  }

  /** Moves machines to a second switch, behind a line of this rate both ways. */
  async separate(machines: readonly Machine[], mbit: number): Promise<void> {
    const netns = this.#switchNetns;
    const [near, far] = TRUNK;
    const setup = [
      `link add ${FAR_SWITCH} type bridge`,
      `link set ${FAR_SWITCH} up`,
      `link add ${near} type veth peer name ${far}`,
      `link set ${near} master br0 up`,
      `link set ${far} master ${FAR_SWITCH} up`,
      ...machines.map(({ name }) => `link set ${PORT_PREFIX}${name} master ${FAR_SWITCH}`),
    ];
    await run(['ip', '-n', netns, '-batch', '-'], { input: `${setup.join('\n')}\n` });
    for (const device of TRUNK) await shapeDevice(netns, device, mbit);
  }

  static async create(
    scratch: Scratch,
    options: { nodes: number; family?: Family; upstream?: object | undefined },
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
    const upstream = options.upstream && new Machine(scratch, 'upstream', UPSTREAM_HOST, family);
    for (const machine of [hub, ...nodes]) await machine.connect();
    await upstream?.connect();
    return new Network({ hub, nodes, upstream }, netns);
  }
}
