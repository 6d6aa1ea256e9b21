import { Fleet } from '../../test/rig/fleet.ts';
import { ADMIN, HUB_NAME } from '../../test/rig/fleet-config.ts';
import { HUB_PORT, MIRROR_PORT } from '../../test/rig/flotilla.ts';
import type { Machine } from '../../test/rig/network.ts';
import { farNodes, trunkMbit } from './bound.ts';
import { startClient } from './client.ts';
import type { PeakClient, PullTask, PushTask } from './client.ts';
import type { PeakOptions } from './options.ts';

const REPOSITORY = 'peak/image';
const FAR_ZONE = 'far';
const PLAIN_PORT = 7500;
/** How long a plain transfer takes at the nominal rate. */
const PLAIN_SECONDS = 3;
const BYTES_PER_MBIT = 1e6 / 8;

/** A hub, agents and one client on every machine; the links have no limit until they are shaped. */
export class Setting implements AsyncDisposable {
  readonly fleet: Fleet;
  readonly clients: readonly PeakClient[];
  readonly #atHub: PeakClient;
  readonly #options: PeakOptions;

  private constructor(fleet: Fleet, clients: readonly PeakClient[], options: PeakOptions) {
    const [atHub, ...others] = clients;
    if (!atHub) throw new Error('there is no client on the machine of the hub');
    this.fleet = fleet;
    this.#atHub = atHub;
    this.clients = others;
    this.#options = options;
  }

  static async start(options: PeakOptions): Promise<Setting> {
    const isApart = options.failure === 'zone';
    const far = farNodes(options);
    const zones = Object.fromEntries(far.map((name) => [name, FAR_ZONE]));
    const fleet = await Fleet.start({
      nodes: options.agents,
      containerd: false,
      // What a user has: less is logged than the tests want to see.
      agentChanges: { log: { level: 'info' } },
      hubChanges: {
        log: { level: 'info' },
        ...(isApart ? { fleet: { zones } } : {}),
      },
    });
    const clients: PeakClient[] = [];
    try {
      for (const { machine } of [fleet.hub, ...fleet.nodes]) {
        // oxlint-disable-next-line no-await-in-loop -- all at once would make each other late
        clients.push(await startClient(machine));
      }
      const setting = new Setting(fleet, clients, options);
      if (isApart) await setting.#separate(far);
      return setting;
    } catch (err) {
      await fleet[Symbol.asyncDispose]();
      throw err;
    }
  }

  /** Pushes an image of these layers; returns its bytes. */
  async push(tag: string, layers: PushTask['layers']): Promise<number> {
    const url = `http://${this.fleet.hub.machine.urlHost}:${HUB_PORT}`;
    const task = { kind: 'push', url, credentials: ADMIN, repository: REPOSITORY, tag } as const;
    const { bytes } = await this.#atHub.perform({ ...task, layers });
    return bytes;
  }

  /** What a client is told to pull an image through the agent on its machine. */
  pullTask(machine: Machine, tag: string): PullTask {
    const mirror = `http://${machine.loopbackHost}:${MIRROR_PORT}`;
    return { kind: 'pull', mirror, namespace: HUB_NAME, repository: REPOSITORY, tag };
  }

  /** Gives every link its rate, both ways. */
  async shape(): Promise<void> {
    const { hub, nodes } = this.fleet;
    const { rateMbit, hubRateMbit } = this.#options;
    for (const { machine } of [hub, ...nodes]) {
      const mbit = machine === hub.machine ? hubRateMbit : rateMbit;
      // oxlint-disable no-await-in-loop -- short commands, one after the other
      await machine.shape(mbit);
      await machine.shapeDown(mbit);
      // oxlint-enable no-await-in-loop
    }
  }

  /** Bytes per second of one plain TCP transfer from the hub's machine to the first node. */
  async plainGoodput(): Promise<number> {
    const [receiver] = this.clients;
    if (!receiver) throw new Error('there is no node');
    const mbit = Math.min(this.#options.rateMbit, this.#options.hubRateMbit);
    const bytes = Math.ceil(mbit * BYTES_PER_MBIT * PLAIN_SECONDS);
    const host = this.fleet.hub.machine.address;
    const task = { kind: 'plain', host, port: PLAIN_PORT, bytes } as const;
    const listening = Promise.withResolvers<void>();
    const sent = this.#atHub.perform({ ...task, role: 'send' }, () => listening.resolve());
    sent.catch(listening.reject);
    await listening.promise;
    const started = performance.now();
    const received = await receiver.perform({ ...task, role: 'receive' });
    const seconds = (performance.now() - started) / 1000;
    await sent;
    return received.bytes / seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#atHub, ...this.clients].map((client) => client.stop()));
    await this.fleet[Symbol.asyncDispose]();
  }

  async #separate(far: readonly string[]): Promise<void> {
    const machines = this.fleet.nodes.map(({ machine }) => machine);
    const apart = machines.filter(({ name }) => far.includes(name));
    await this.fleet.network.separate(apart, trunkMbit(this.#options));
  }
}
