import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { parseReference } from '../oci/name.ts';
import { RegistryClient } from './registry-client.ts';
import { BY_DIGEST, BYTES, bytesOf, DIGEST, REPOSITORY } from './test-registry.ts';
import { notSent, secretsOf, testRegistry } from './test-registry.ts';

const BLOB = `/v2/${REPOSITORY}/blobs/${DIGEST}`;
const AUTHORIZATION = 'Bearer secret';
const READ = { maxBytes: 100, authorization: AUTHORIZATION };

/** Answers with the blob at `/store`, elsewhere with a redirect to `location(path)`. */
function redirecting(location: (path: string) => string, status = 307): RequestListener {
  return ({ url = '' }, response) => {
    if (url.startsWith('/store')) response.end(BYTES);
    else response.writeHead(status, { location: location(url) }).end('moved');
  };
}

test('a redirect within the registry is followed, with its credentials', async (t) => {
  for (const status of [301, 302, 303, 307, 308]) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(
      t,
      redirecting(() => '/store/1?sig=x', status),
    );
    // oxlint-disable-next-line no-await-in-loop
    assert.deepEqual(await registry.client().readBlob(REPOSITORY, DIGEST, READ), BYTES);
    assert.deepEqual(
      registry.requests.map(({ url }) => url),
      [BLOB, '/store/1?sig=x'],
    );
    assert.deepEqual(secretsOf(registry.requests), [AUTHORIZATION, AUTHORIZATION]);
  }
});

test('a redirect to another host is refused unless it is listed', async (t) => {
  const store = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const registry = await testRegistry(
    t,
    redirecting(() => `${store.url}/blob`),
  );
  const others = ['127.0.0.1', 'localhost', `127.0.0.2:${store.host.split(':')[1]}`, '*.0.0.1'];
  for (const redirectHosts of [undefined, [], others]) {
    const client = registry.client({ redirectHosts, redirectSetting: 'hub.redirectHosts' });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(client.readBlob(REPOSITORY, DIGEST, READ), {
      code: 'REDIRECT_REFUSED',
      data: { code: 'REDIRECT_REFUSED', host: store.host },
      message: new RegExp(`to ${store.host}.*list the host in hub\\.redirectHosts`),
    });
  }
  assert.equal(store.requests.length, 0);
});

test('a listed host gets the request and its range, never the credentials', async (t) => {
  const store = await testRegistry(t, (_request, response) => {
    response.setHeader('content-range', 'bytes 2-5/10');
    response.writeHead(206).end('2345');
  });
  const registry = await testRegistry(
    t,
    redirecting(() => `${store.url}/blob?sig=x`),
  );
  const client = registry.client({ redirectHosts: [store.host] });
  const asked = { start: 2, end: 6, authorization: AUTHORIZATION };
  const blob = await client.openBlob(REPOSITORY, DIGEST, asked);
  assert.equal(String(await bytesOf(blob?.body)), '2345');
  assert.equal(store.requests[0]?.headers.range, 'bytes=2-5');
  assert.deepEqual(secretsOf(store.requests), [undefined]);
  assert.deepEqual(secretsOf(registry.requests), [AUTHORIZATION]);
});

test('credentials do not come back with a request that had left', async (t) => {
  const back = { url: '' };
  const store = await testRegistry(
    t,
    redirecting(() => `${back.url}/store/other`),
  );
  const registry = await testRegistry(
    t,
    redirecting(() => `${store.url}/away`),
  );
  back.url = registry.url;
  const client = registry.client({ redirectHosts: [store.host] });
  assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  assert.deepEqual(secretsOf(registry.requests), [AUTHORIZATION, undefined]);
});

test("another host's challenge is neither answered nor passed on", async (t) => {
  const challenge = { 'www-authenticate': 'Basic realm="give me"' };
  for (const status of [401, 403]) {
    // oxlint-disable-next-line no-await-in-loop -- one pair of servers at a time
    const store = await testRegistry(t, (_request, response) => {
      response.writeHead(status, challenge).end();
    });
    // oxlint-disable-next-line no-await-in-loop
    const registry = await testRegistry(
      t,
      redirecting(() => store.url),
    );
    const credentials = { username: 'u', password: 'p' };
    const client = registry.client({ redirectHosts: [store.host], credentials });
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(client.readBlob(REPOSITORY, DIGEST, { maxBytes: 100 }), {
      code: 'HTTP_STATUS',
      data: { code: 'HTTP_STATUS', status },
    });
    assert.deepEqual(secretsOf([...registry.requests, ...store.requests]), [undefined, undefined]);
  }
});

test('redirects in a circle end', async (t) => {
  const registry = await testRegistry(
    t,
    redirecting((path) => path),
  );
  const asked = registry.client().readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'REDIRECT_REFUSED', message: /more than 5 times/ });
  assert.equal(registry.requests.length, 6);
});

test('an address that cannot be meant is refused', async (t) => {
  const wrong = [
    ['http://', 'https://[', 'file:///etc/passwd', 'data:,0123456789', 'javascript:0'],
    ['ftp://127.0.0.1/', 'http://user:secret@HOST/store', 'http://@HOST:x/'],
  ].flat();
  for (const target of wrong) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, ({ headers }, response) => {
      const location = target.replace('HOST', headers.host ?? '');
      response.writeHead(307, { location }).end();
    });
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(
      registry.client().readBlob(REPOSITORY, DIGEST, READ),
      { code: 'REDIRECT_REFUSED', message: /no address that can be used/ },
      target,
    );
    assert.equal(registry.requests.length, 1);
  }
});

test('plain http beyond loopback is refused also when its host is listed', async (t) => {
  const registry = await testRegistry(
    t,
    redirecting(() => 'http://store.example/blob'),
  );
  const client = registry.client({ redirectHosts: ['store.example'] });
  const asked = client.getManifest(REPOSITORY, BY_DIGEST);
  await assert.rejects(asked, { code: 'REDIRECT_REFUSED', message: /plain http at store.example/ });
});

test('a push follows only redirects that repeat it, and no upload elsewhere', async (t) => {
  const moved = await testRegistry(
    t,
    redirecting(() => '/store/1', 302),
  );
  const tag = parseReference('latest');
  const push = moved.client().pushManifest(REPOSITORY, tag, BYTES, 'a/b', READ);
  await assert.rejects(push, { data: { code: 'HTTP_STATUS', status: 302 } });
  assert.equal(moved.requests.length, 1);
  const locations = ['https://evil.example/upload', '//evil.example/upload', 'http://[', ''];
  for (const location of locations) {
    // oxlint-disable-next-line no-await-in-loop -- one server at a time
    const registry = await testRegistry(t, ({ method }, response) => {
      response.writeHead(method === 'HEAD' ? 404 : 202, { location }).end();
    });
    const pushed = registry.client().pushBlob(REPOSITORY, DIGEST, 10, notSent);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(pushed, { code: 'REDIRECT_REFUSED' }, location);
  }
});

test('the address of a registry is a host and nothing more', () => {
  const wrong = [
    ['', 'registry.example', 'ftp://registry.example', 'https://', 'https://registry.example/v2'],
    ['https://u:p@registry.example', 'https://registry.example/?x', 'https://registry.example/#'],
  ].flat();
  for (const baseUrl of wrong) {
    const make = (): unknown => new RegistryClient({ baseUrl, allowPlainHttp: true });
    assert.throws(make, { code: 'BASE_URL_INVALID' }, baseUrl);
  }
  const plain = { baseUrl: 'http://registry.example', allowPlainHttp: false };
  assert.throws(() => new RegistryClient(plain), { code: 'PLAIN_HTTP_REFUSED' });
});
