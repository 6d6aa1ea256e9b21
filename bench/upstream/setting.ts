import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Fleet } from '../../test/rig/fleet.ts';
import { MIRROR_PORT } from '../../test/rig/flotilla.ts';
import { UPSTREAM_NAME } from '../../test/rig/upstream.ts';
import type { AddedImage } from '../../test/upstream/images.ts';
import type { Report } from '../../test/upstream/request-log.ts';
import { Client } from '../rig/client.ts';
import type { Pull, Upstream, Way } from './figures.ts';
import type { UpstreamBenchOptions } from './options.ts';
import type { PullTask } from './pull.ts';

const CLIENT_MAIN = path.join(import.meta.dirname, 'client-main.ts');
const TAG = 'v1';
/** No round comes near it; its headers are in every answer all the same. */
const PLENTY = { pulls: 1_000_000, windowSeconds: 21_600 };
/** Longer than a bench takes. */
const TTL = '1d';

type PullClient = Client<PullTask, Pull>;

/** A hub, agents with a client each, and an upstream whose link has a limit. */
export class Setting implements AsyncDisposable {
  readonly #fleet: Fleet;
  readonly #clients: readonly PullClient[];
  readonly #ca: string;
  /** Of all that went through the hub so far. */
  readonly upstream: Upstream = {
    sentBytes: 0,
    pulledBytes: 0,
    countedPulls: 0,
    manifests: 0,
    warmRequests: 0,
  };

  private constructor(fleet: Fleet, clients: readonly PullClient[], ca: string) {
    this.#fleet = fleet;
    this.#clients = clients;
    this.#ca = ca;
  }

  static async start(options: UpstreamBenchOptions): Promise<Setting> {
    // What a user has: less is logged than the tests want to see.
    const changes = { log: { level: 'info' } };
    const fleet = await Fleet.start({
      nodes: options.agents,
      containerd: false,
      agentChanges: changes,
      hubChanges: changes,
      upstream: {
        settings: { freshness: 'ttl', ttl: TTL },
        standIn: { anonymousLimit: PLENTY },
      },
    });
    try {
      const clients: PullClient[] = [];
      for (const { machine } of fleet.nodes) clients.push(await Client.start(machine, CLIENT_MAIN));
      await fleet.upstream.machine.shape(options.mbit);
      return new Setting(fleet, clients, await readFile(fleet.upstream.caFile, 'utf8'));
    } catch (err) {
      await fleet[Symbol.asyncDispose]();
      throw err;
    }
  }

  /** An image that nobody has pulled, of one manifest and one layer of so many bytes. */
  async offer(name: string, bytes: number): Promise<AddedImage> {
    const layers = [{ seed: name, bytes }];
    return await this.#fleet.upstream.registry.addImage({
      repository: `library/${name}`,
      tags: [TAG],
      platforms: [{ os: 'linux', architecture: 'amd64', layers }],
      index: false,
    });
  }

  /** Has the first client pull an image, straight from the upstream or through hub and agent. */
  async pull(image: AddedImage, way: Way): Promise<Pull> {
    const { registry } = this.#fleet.upstream;
    await registry.forget();
    const pull = await this.#pullOn(0, image, way);
    const report = await registry.report();
    if (way === 'cold') this.#count(image, report);
    if (way === 'warm') this.upstream.warmRequests += report.requests;
    return pull;
  }

  /** Has every client pull an image through its agent at the same time. */
  async pullEverywhere(image: AddedImage): Promise<void> {
    const { registry } = this.#fleet.upstream;
    await registry.forget();
    await Promise.all(this.#clients.map((_, at) => this.#pullOn(at, image, 'cold')));
    this.#count(image, await registry.report());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.stop()));
    await this.#fleet[Symbol.asyncDispose]();
  }

  async #pullOn(at: number, { repository }: AddedImage, way: Way): Promise<Pull> {
    const [client, node] = [this.#clients[at], this.#fleet.nodes[at]];
    if (client === undefined || node === undefined) throw new Error(`there is no node ${at + 1}`);
    const isStraight = way === 'straight';
    const mirror = `http://${node.machine.loopbackHost}:${MIRROR_PORT}`;
    return await client.perform({
      url: isStraight ? this.#fleet.upstream.registry.urls.url : mirror,
      namespace: isStraight ? undefined : UPSTREAM_NAME,
      ca: isStraight ? this.#ca : undefined,
      repository,
      tag: TAG,
    });
  }

  #count({ manifests }: AddedImage, report: Report): void {
    const { upstream } = this;
    const blobs = Object.values(report.blobs);
    upstream.sentBytes += blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    const pulled = manifests.flatMap(({ config, layers }) => [config, ...layers]);
    upstream.pulledBytes += pulled.reduce((sum, { size }) => sum + size, 0);
    upstream.countedPulls += Object.values(report.counted).reduce((sum, count) => sum + count, 0);
    upstream.manifests += manifests.length;
  }
}
