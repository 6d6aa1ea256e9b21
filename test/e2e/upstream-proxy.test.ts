import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { Fleet } from '../rig/fleet.ts';
import { ADMIN } from '../rig/fleet-config.ts';
import { HUB_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { pulls } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { Tinyproxy } from '../rig/tinyproxy.ts';
import { until } from '../rig/until.ts';
import type { UpstreamImage } from '../rig/upstream.ts';
import type { HttpAnswer } from '../rig/worker.ts';

const PROXY = { host: '10.77.0.243', number: 243, port: 3128 };
const ACCOUNT = { username: 'flotilla', password: 'secret' };
/** No host but the proxy's can look this up. */
const REGISTRY = 'registry.upstream.test';
const ELSEWHERE = 'elsewhere.upstream.test';
const TOKENS = '10.77.0.241:443';
const CDN = '10.77.0.242:443';
/** What another process writes is here a moment later. */
const WRITTEN_MS = 10_000;
const LOGIN = Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64');

/** Other entries of the same registry. */
const ALL = { name: 'all.example', noProxy: [] };
const PUBLIC_ONLY = { name: 'public-only.example', noProxy: [], allowedNetworks: [] };

describe('an upstream behind a proxy', { skip: missingFor('openssl', 'tinyproxy') }, () => {
  let fleet: Fleet;
  let proxy: Tinyproxy;
  let earlier: number;
  before(async () => {
    const { username, password } = ACCOUNT;
    fleet = await Fleet.start({
      nodes: 1,
      hubEnv: {
        HTTPS_PROXY: `http://${username}:${password}@${PROXY.host}:${PROXY.port}`,
        NO_PROXY: `hub.test, ${CDN}`,
        https_proxy: undefined,
        no_proxy: undefined,
      },
      upstream: {
        settings: { url: `https://${REGISTRY}` },
        names: [REGISTRY],
        also: [ALL, PUBLIC_ONLY],
      },
    });
    const { machine } = fleet.upstream;
    await machine.addAddress(PROXY.number);
    const names = { [REGISTRY]: machine.v4, [ELSEWHERE]: machine.v4 };
    proxy = await Tinyproxy.start(fleet.scratch, machine, PROXY, ACCOUNT, names);
    earlier = 0;
  });
  afterEach(async () => {
    await fleet.upstream.registry.fault();
    earlier = proxy.asked.length;
  });
  after(async () => {
    await proxy?.stop();
    await fleet[Symbol.asyncDispose]();
  });

  /** Where the proxy was to connect to in this test. */
  const asked = (): Set<string> => new Set(proxy.asked.slice(earlier));
  const askedFor = (...hosts: string[]): Promise<boolean> =>
    until(`the proxy is to connect to ${hosts.join(', ')}`, WRITTEN_MS, async () => {
      return isDeepStrictEqual(asked(), new Set(hosts)) || undefined;
    });

  /** Asks the hub for the manifest and the layer of an image by the name of an entry. */
  async function plainPull(name: string, image: UpstreamImage): Promise<HttpAnswer> {
    const { machine, worker } = fleet.hub;
    const base = `http://${machine.loopbackHost}:${HUB_PORT}/v2/${name}/${image.repository}`;
    const headers = { authorization: `Basic ${LOGIN}`, accept: '*/*' };
    const manifest = await worker.http(`${base}/manifests/${image.manifestDigest}`, { headers });
    if (manifest.status !== 200) return manifest;
    return await worker.http(`${base}/blobs/${image.layers[0]?.digest}`, { headers });
  }

  test('is pulled from through it, all but the hosts of NO_PROXY', async () => {
    const image = await fleet.upstream.offer('proxied', [5 * MIB]);
    await pulls(fleet.node(1), image);
    await askedFor(`${REGISTRY}:443`, TOKENS);
  });

  test('has all its hosts behind it where noProxy of its entry is empty', async () => {
    const image = await fleet.upstream.offer('all-proxied', [5 * MIB]);
    const layer = await plainPull(ALL.name, image);
    assert.equal(layer.status, 200, layer.body.toString('utf8', 0, 500));
    assert.equal(`sha256:${layer.bodySha256}`, image.layers[0]?.digest);
    await askedFor(`${REGISTRY}:443`, TOKENS, CDN);
  });

  test('has no hosts by private addresses but those that are allowed', async () => {
    const image = await fleet.upstream.offer('private-token', [5 * MIB]);
    const refused = await plainPull(PUBLIC_ONLY.name, image);
    assert.equal(refused.status, 503, refused.body.toString('utf8', 0, 500));
    assert.match(refused.body.toString(), /public-only\.example gives no usable answer/);
    const told =
      /"reason":"10\.77\.0\.241 is at [^"]*allowedNetworks.*public-only\.example does not/;
    await until('the log says what to do', WRITTEN_MS, async () => {
      return told.test(fleet.hub.running.output()) || undefined;
    });
    await askedFor(`${REGISTRY}:443`);
  });

  test('has no hosts by names but those that are listed', async () => {
    const image = await fleet.upstream.offer('elsewhere', [5 * MIB]);
    const fault = { kind: 'redirect', to: `https://${ELSEWHERE}/blob`, at: 'registry' } as const;
    await fleet.upstream.registry.fault({ on: { kind: 'blob' }, fault });
    const refused = await plainPull(ALL.name, image);
    assert.equal(refused.status, 503, refused.body.toString('utf8', 0, 500));
    assert.ok(!asked().has(`${ELSEWHERE}:443`), 'the proxy was to connect to it');
  });
});
