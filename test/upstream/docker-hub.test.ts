import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { DockerHub, type DockerHubOptions } from './docker-hub.ts';
import type { AddedImage } from './images.ts';

const MIB = 1024 ** 2;
const NGINX = 'library/nginx';
const SIX_HOURS_MS = 21_600_000;

type Asked = { method?: string; headers?: Record<string, string> };

async function start(t: TestContext, options: DockerHubOptions = {}): Promise<DockerHub> {
  const hub = await DockerHub.start(options);
  t.after(() => hub[Symbol.asyncDispose]());
  return hub;
}

function nginx(hub: DockerHub, bytes = MIB): AddedImage {
  const layers = [{ seed: 'base', bytes }];
  return hub.shelf.addImage({
    repository: NGINX,
    tags: ['latest', '1.29'],
    platforms: [
      { os: 'linux', architecture: 'amd64', layers },
      { os: 'linux', architecture: 'arm64', layers: [...layers, { seed: 'arm', bytes: 10 }] },
    ],
  });
}

/** Asks as a client does that has followed the challenge. */
async function client(hub: DockerHub, login?: string, repository = NGINX) {
  const query = new URLSearchParams({ service: 'any', scope: `repository:${repository}:pull` });
  const basic = `Basic ${Buffer.from(login ?? '').toString('base64')}`;
  const headersOf: Record<string, string> = login === undefined ? {} : { authorization: basic };
  const answer = await fetch(`${hub.tokenUrl}/token?${query.toString()}`, { headers: headersOf });
  const body: { token?: string } = JSON.parse(await answer.text());
  const authorization = `Bearer ${body.token}`;
  return (path: string, { method = 'GET', headers = {} }: Asked = {}) =>
    fetch(`${hub.url}/v2/${repository}/${path}`, {
      method,
      headers: { authorization, ...headers },
      redirect: 'manual',
    });
}

function pulled(response: Response): Record<string, string | null> {
  const { headers } = response;
  return {
    limit: headers.get('ratelimit-limit'),
    remaining: headers.get('ratelimit-remaining'),
    source: headers.get('docker-ratelimit-source'),
  };
}

test('without a token there is a challenge that leads to the token service', async (t) => {
  const hub = await start(t);
  nginx(hub);
  const answer = await fetch(`${hub.url}/v2/${NGINX}/manifests/latest`);
  assert.equal(answer.status, 401);
  assert.equal(
    answer.headers.get('www-authenticate'),
    `Bearer realm="${hub.tokenUrl}/token",service="registry.docker.io"` +
      `,scope="repository:${NGINX}:pull"`,
  );
  assert.notEqual(new URL(hub.tokenUrl).host, new URL(hub.url).host);
});

test('a GET of a manifest counts, a HEAD and a layer do not, and headers tell it', async (t) => {
  const hub = await start(t);
  const image = nginx(hub);
  const ask = await client(hub);
  const head = await ask('manifests/latest', { method: 'HEAD' });
  const expected = { limit: '100;w=21600', remaining: '100;w=21600', source: '127.0.0.1' };
  assert.deepEqual(pulled(head), expected);
  assert.equal(head.headers.get('docker-content-digest'), image.digest);
  const got = await ask(`manifests/${image.digest}`);
  assert.deepEqual(pulled(got), { ...expected, remaining: '99;w=21600' });
  const layer = await ask(`blobs/${image.manifests[0]?.layers[0]?.digest}`);
  assert.equal(layer.status, 307);
  assert.deepEqual(hub.report().counted, { '127.0.0.1': 1 });
});

test('a tag that is unchanged costs nothing', async (t) => {
  const hub = await start(t);
  nginx(hub);
  const ask = await client(hub);
  const first = await ask('manifests/latest', { method: 'HEAD' });
  const headers = { 'if-none-match': first.headers.get('etag') ?? '' };
  const again = await ask('manifests/latest', { method: 'HEAD', headers });
  assert.equal(again.status, 304);
  hub.shelf.tag(NGINX, 'latest', nginx(hub, 2 * MIB).digest);
  assert.equal((await ask('manifests/latest', { method: 'HEAD', headers })).status, 200);
  assert.deepEqual(hub.report().counted, {});
});

test('over the limit is 429 with the registry’s code until the window has moved on', async (t) => {
  let nowMs = 1_800_000_000_000;
  const anonymousLimit = { pulls: 2, windowSeconds: 21_600 };
  const hub = await start(t, { now: () => nowMs, anonymousLimit });
  nginx(hub);
  const ask = await client(hub);
  const status = async (method = 'GET') => (await ask('manifests/latest', { method })).status;
  assert.deepEqual([await status(), await status(), await status()], [200, 200, 429]);
  const body = await (await ask('manifests/latest')).text();
  assert.match(body, /"code":"TOOMANYREQUESTS"/);
  assert.equal(await status('HEAD'), 200);
  nowMs += SIX_HOURS_MS + 1;
  const later = await client(hub);
  assert.equal((await later('manifests/latest')).status, 200);
});

test('an account has its own budget, and a paid one has none', async (t) => {
  const limit = { pulls: 200, windowSeconds: 21_600 };
  const accounts = {
    ann: { password: 'a', id: 'id-of-ann', limit },
    bob: { password: 'b', id: 'id-of-bob', limit: undefined },
  };
  const hub = await start(t, { accounts });
  nginx(hub);
  const byAnn = await (await client(hub, 'ann:a'))('manifests/latest');
  const expected = { limit: '200;w=21600', remaining: '199;w=21600', source: 'id-of-ann' };
  assert.deepEqual(pulled(byAnn), expected);
  const byBob = await (await client(hub, 'bob:b'))('manifests/latest');
  assert.deepEqual(pulled(byBob), { limit: null, remaining: null, source: null });
  const wrong = await (await client(hub, 'ann:b'))('manifests/latest');
  assert.equal(wrong.status, 401);
  assert.deepEqual(hub.report().counted, { ann: 1, bob: 1 });
});

test('a private repository looks to others like one that is not there', async (t) => {
  const accounts = { ann: { password: 'a', id: 'id-of-ann', limit: undefined } };
  const hub = await start(t, { accounts });
  nginx(hub);
  hub.shelf.own(NGINX, 'ann');
  const stranger = await client(hub);
  const answer = await stranger('manifests/latest');
  assert.equal(answer.status, 401);
  assert.match(answer.headers.get('www-authenticate') ?? '', /error="insufficient_scope"/);
  const owner = await client(hub, 'ann:a');
  assert.equal((await owner('manifests/latest')).status, 200);
});

test('the CDN serves ranges of what was signed for, and takes no secret', async (t) => {
  const hub = await start(t);
  const image = nginx(hub, 3 * MIB + 17);
  const layer = image.manifests[0]?.layers[0];
  assert.ok(layer);
  const ask = await client(hub);
  const location = (await ask(`blobs/${layer.digest}`)).headers.get('location') ?? '';
  assert.ok(location.startsWith(hub.cdnUrl));
  const hash = createHash('sha256');
  for (const range of [`bytes=0-${MIB}`, `bytes=${MIB + 1}-`]) {
    const part = await fetch(location, { headers: { range } });
    assert.equal(part.status, 206);
    hash.update(Buffer.from(await part.arrayBuffer()));
  }
  assert.equal(`sha256:${hash.digest('hex')}`, layer.digest);
  assert.deepEqual(hub.report().blobs[layer.digest], { gets: 2, bytes: layer.size });
  const withSecret = await fetch(location, { headers: { authorization: 'Bearer any' } });
  assert.equal(withSecret.status, 400);
  assert.equal(
    (await fetch(location.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status,
    403,
  );
});

test('tokens and signed addresses end', async (t) => {
  let nowMs = 1_800_000_000_000;
  const hub = await start(t, { now: () => nowMs });
  const image = nginx(hub);
  const ask = await client(hub);
  const path = `blobs/${image.manifests[0]?.layers[0]?.digest}`;
  const location = (await ask(path)).headers.get('location') ?? '';
  nowMs += 300_000;
  const late = await ask(path);
  assert.equal(late.status, 401);
  assert.match(late.headers.get('www-authenticate') ?? '', /error="invalid_token"/);
  nowMs += 1_200_000;
  assert.equal((await fetch(location)).status, 403);
});
