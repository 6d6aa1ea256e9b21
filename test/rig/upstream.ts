import { MACHINE_NETWORKS } from './network.ts';
import type { Machine } from './network.ts';
import { makeCertificate } from '../upstream/certificate.ts';
import type { StartOptions } from '../upstream/calls.ts';
import type { AddedImage, LayerPlan } from '../upstream/images.ts';
import { RemoteDockerHub } from '../upstream/remote.ts';
import type { Stops } from './fleet.ts';
import type { Config, ConfigFile } from './flotilla.ts';
import type { Pullable } from './pulls.ts';
import type { Scratch } from './scratch.ts';

/** The canonical host that the stand-in stands for. */
export const UPSTREAM_NAME = 'docker.io';
const PORT = 443;
const TOKEN_HOST = 241;
const CDN_HOST = 242;

export type UpstreamOptions = {
  /** Of its entry in the configuration of the hub, beside how it is reached. */
  settings?: Config;
  /** More entries for it, which differ from the first one in these settings. */
  also?: readonly Config[];
  /** What its certificate is for beside its addresses. */
  names?: readonly string[];
  standIn?: Pick<StartOptions, 'accounts' | 'anonymousLimit'>;
};

/** Its image for one platform, as a containerd of the test network asks for it. */
export type UpstreamImage = Pullable & { added: AddedImage; repository: string; bytes: number };

/**
 * The stand-in of Docker Hub on a machine of the test network, over TLS: registry, token service
 * and CDN have an address each.
 */
export class Upstream {
  readonly machine: Machine;
  readonly registry: RemoteDockerHub;
  /** What the hub is told of it. */
  readonly hubSections: ConfigFile;
  readonly caFile: string;

  private constructor(parts: Pick<Upstream, 'machine' | 'registry' | 'hubSections' | 'caFile'>) {
    this.machine = parts.machine;
    this.registry = parts.registry;
    this.hubSections = parts.hubSections;
    this.caFile = parts.caFile;
  }

  static async start(
    scratch: Scratch,
    machine: Machine,
    { settings = {}, also = [], names = [], standIn = {} }: UpstreamOptions,
    stops: Stops,
  ): Promise<Upstream> {
    const urlHosts = {
      registry: machine.urlHost,
      token: await machine.addAddress(TOKEN_HOST),
      cdn: await machine.addAddress(CDN_HOST),
    };
    const { registry: at, token, cdn } = urlHosts;
    const places = { registry: placeOf(at), token: placeOf(token), cdn: placeOf(cdn) };
    const addresses = Object.values(places).map(({ host }) => host);
    const files = await makeCertificate(await scratch.make('upstream'), [...addresses, ...names]);
    const registry = new RemoteDockerHub({ places, ...files, ...standIn }, (command, options) =>
      machine.start(command, options),
    );
    stops.push(() => registry.kill());
    await registry.start();
    const caFile = files.certFile;
    const entry = {
      name: UPSTREAM_NAME,
      url: `https://${at}`,
      caFile,
      tokenHosts: [token],
      redirectHosts: [cdn],
      allowedNetworks: MACHINE_NETWORKS,
      ...settings,
    };
    const upstreams = [entry, ...also.map((other) => ({ ...entry, ...other }))];
    return new Upstream({ machine, registry, hubSections: { upstreams }, caFile });
  }

  /**
   * Has the registry offer an image for two platforms under the tag v1, of which containerd takes
   * the first, with layers of these sizes.
   */
  async offer(name: string, layerBytes: readonly number[], version = 'v1'): Promise<UpstreamImage> {
    const repository = `library/${name}`;
    const layers = layerBytes.map((bytes, at): LayerPlan => ({
      seed: `${name} ${version} ${at}`,
      bytes,
    }));
    const added = await this.registry.addImage({
      repository,
      tags: ['v1'],
      platforms: [
        { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch, layers },
        { os: 'linux', architecture: 's390x', layers: layers.slice(0, 1) },
      ],
    });
    const [first] = added.manifests;
    if (first === undefined) throw new Error(`${repository} has no manifest`);
    const { digest: manifestDigest, config } = first;
    const reference = `${UPSTREAM_NAME}/${repository}:v1`;
    const bytes = first.layers.reduce((sum, { size }) => sum + size, config.size);
    return { added, repository, reference, manifestDigest, config, layers: first.layers, bytes };
  }
}

function placeOf(urlHost: string): { host: string; port: number } {
  return { host: urlHost.replace(/[[\]]/g, ''), port: PORT };
}
