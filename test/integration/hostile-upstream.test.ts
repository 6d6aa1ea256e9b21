// Upstreams that name, and say that they have, what a node holds of somebody else.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { request } from 'undici';
import type { Agent } from '../../agent/agent.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { fetchDigest, HUB_NAME, LoopbackFleet, pull } from './loopback-fleet.ts';
import type { TestImage } from './loopback-fleet.ts';

const MIB = 1024 * 1024;
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

/** A registry with the same content in all repositories. */
class Anywhere implements AsyncDisposable {
  readonly blobs = new Map<string, Buffer>();
  /** Blobs it says it has, of this size. */
  readonly claims = new Map<string, number>();
  readonly asked: string[] = [];
  /** Sends some bytes of what it only claims, and then nothing more. */
  stalls = false;
  readonly #manifests = new Map<string, { bytes: Buffer; type: string }>();
  readonly #server = createServer((asked, answer) => this.#answer(asked, answer));

  name(tag: string, type: string, fields: object): void {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, ...fields }));
    for (const reference of [tag, digestOf(bytes)]) this.#manifests.set(reference, { bytes, type });
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  #answer({ method, url = '' }: IncomingMessage, answer: ServerResponse): void {
    this.asked.push(`${method} ${url}`);
    const [, kind, reference = ''] = /\/(manifests|blobs)\/([^/]+)$/.exec(url) ?? [];
    const manifest = kind === 'manifests' ? this.#manifests.get(reference) : undefined;
    const bytes = manifest?.bytes ?? this.blobs.get(reference);
    const length = bytes?.length ?? this.claims.get(reference);
    if (length === undefined) return void answer.writeHead(404).end();
    answer.writeHead(200, {
      'content-length': length,
      'content-type': manifest?.type ?? 'application/octet-stream',
      ...(manifest ? { 'docker-content-digest': digestOf(manifest.bytes) } : {}),
    });
    const body = bytes ?? Buffer.alloc(length);
    if (method === 'HEAD') return void answer.end();
    if (bytes === undefined && this.stalls) return void answer.write(body.subarray(0, MIB));
    return void answer.end(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const hostile = new Anywhere();
const honest = new Anywhere();
const good = new Anywhere();
let fleet: LoopbackFleet;
let agent: Agent;
let image: TestImage;
before(async () => {
  const shared = { provisional: 'readers', negativeTtl: '0s' };
  fleet = await LoopbackFleet.start(1, {
    upstreams: [
      { ...shared, name: 'hostile.example', alias: 'h', url: await hostile.start() },
      { ...shared, name: 'good.example', url: await good.start() },
      { ...shared, name: 'mine.example', url: await honest.start(), visibility: 'private' },
    ],
  });
  const [first] = fleet.agents;
  assert.ok(first);
  agent = first;
  await fleet.api('POST', '/projects', { name: 'own', visibility: 'private' });
  image = await fleet.push('own/app', 'v1', [randomBytes(9 * MIB + 7), randomBytes(100_000)]);
  nameIt(hostile, 'image', image);
  const child = { mediaType: OCI_MANIFEST, digest: image.digest, size: 1000 };
  hostile.name('index', OCI_INDEX, { manifests: [child] });
  await pull(agent, image, { authorization: await tokenFor('own', 'own/app') });
});
after(async () => {
  await fleet[Symbol.asyncDispose]();
  await hostile[Symbol.asyncDispose]();
  await honest[Symbol.asyncDispose]();
  await good[Symbol.asyncDispose]();
});

function nameIt(registry: Anywhere, tag: string, { blobs }: Pick<TestImage, 'blobs'>): void {
  const [config, ...layers] = blobs.map((one) => ({ mediaType: LAYER_TYPE, ...one }));
  registry.name(tag, OCI_MANIFEST, { config, layers });
}

/** A token as a runtime gets it with the pull secret of a pod. */
async function tokenFor(project: string, repository: string): Promise<string> {
  const name = repository.replaceAll(/[^a-z]/g, '-');
  const permissions = [{ repository: `${project}/**`, actions: ['pull'] }];
  const made = await fleet.api('POST', `/projects/${project}/robots`, { name, permissions });
  const basic = Buffer.from(`${made['login']}:${made['secret']}`).toString('base64');
  const scope = `repository:${repository}:pull`;
  const query = new URLSearchParams({ service: 'flotilla', scope });
  const headers = { authorization: `Basic ${basic}` };
  const answer = await request(`${fleet.hubUrl}/api/token?${query.toString()}`, { headers });
  const { token }: { token: string } = JSON.parse(await answer.body.text());
  return `Bearer ${token}`;
}

/** The digest of what a pod gets there, whatever the status; undefined when it breaks off. */
async function got(path: string, authorization?: string): Promise<string | undefined> {
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
  const answer = fetchDigest(`${agent.mirrorUrls[0]}/v2/${path}`, headers);
  return (await answer.catch(() => undefined))?.digest;
}

test('to name what somebody else has gives no right to it, whatever the name', async () => {
  const names = ['app/@?ns=hostile.example', `h/app/@?ns=${HUB_NAME}`, 'h/app/@', 'h/b/@'];
  for (const name of names) {
    const at = (part: string): Promise<string | undefined> => got(name.replace('@', part));
    await at('manifests/image');
    await at('manifests/index');
    for (const { digest } of image.blobs) assert.notEqual(await at(`blobs/${digest}`), digest);
    for (const kind of ['blobs', 'manifests']) {
      assert.notEqual(await at(`${kind}/${image.digest}`), image.digest, kind);
    }
  }
});

test('nor does it give a right to say that one has it', async () => {
  for (const { digest, size } of image.blobs) hostile.claims.set(digest, size);
  for (const repository of ['app', 'elsewhere']) {
    await got(`${repository}/manifests/image?ns=hostile.example`);
    for (const { digest } of image.blobs) {
      assert.notEqual(await got(`${repository}/blobs/${digest}?ns=hostile.example`), digest);
    }
  }
});

test('what everybody may read is not fetched again of an upstream that names it too', async () => {
  const open = await fleet.push('open/app', 'v1', [randomBytes(6 * MIB)]);
  await pull(agent, open);
  nameIt(hostile, 'open', open);
  await got('app/manifests/open?ns=hostile.example');
  for (const { digest } of open.blobs) {
    assert.equal(await got(`app/blobs/${digest}?ns=hostile.example`), digest);
    assert.ok(!hostile.asked.some((one) => one.endsWith(digest)));
  }
});

test('a layer of two private repositories of an upstream comes of it for each', async () => {
  const [config, layer] = [Buffer.from('{}'), randomBytes(7 * MIB)];
  const blobs = [config, layer].map((bytes) => ({ digest: digestOf(bytes), size: bytes.length }));
  for (const bytes of [config, layer]) honest.blobs.set(digestOf(bytes), bytes);
  nameIt(honest, 'v1', { blobs });
  for (const repository of ['mine.example/a', 'mine.example/b']) {
    const token = await tokenFor('mine.example', repository);
    await got(`${repository}/manifests/v1`, token);
    for (const { digest } of blobs) {
      assert.equal(await got(`${repository}/blobs/${digest}`, token), digest, repository);
      assert.notEqual(await got(`${repository}/blobs/${digest}`), digest, 'without a token');
    }
  }
});

test('an upstream that sends nothing, or something else, holds up nobody else', async () => {
  const [config, layer] = [Buffer.from('{"a":1}'), randomBytes(8 * MIB + 3)];
  const blobs = [config, layer].map((bytes) => ({ digest: digestOf(bytes), size: bytes.length }));
  for (const bytes of [config, layer]) good.blobs.set(digestOf(bytes), bytes);
  for (const { digest, size } of blobs) hostile.claims.set(digest, size);
  for (const registry of [hostile, good]) nameIt(registry, 'both', { blobs });
  hostile.stalls = true;
  const digest = digestOf(layer);
  await got('app/manifests/both?ns=hostile.example');
  const stop = new AbortController();
  const url = `${agent.mirrorUrls[0]}/v2/app/blobs/${digest}?ns=hostile.example`;
  const { body } = await request(url, { signal: stop.signal });
  await once(body, 'readable');
  await got('app/manifests/both?ns=good.example');
  assert.equal(await got(`app/blobs/${digest}?ns=good.example`), digest);
  body.on('error', () => {});
  stop.abort();
});
