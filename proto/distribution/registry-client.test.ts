import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from '../oci/media-types.ts';
import { parseReference } from '../oci/name.ts';
import { BY_DIGEST, BYTES, bytesOf, DIGEST, REPOSITORY } from './test-registry.ts';
import { notSent, testRegistry, type TestRegistry } from './test-registry.ts';

const UPLOADS = `/v2/${REPOSITORY}/blobs/uploads/`;
const TAG = parseReference('latest');

async function* twoPieces(): AsyncGenerator<Buffer, void, undefined> {
  yield BYTES.subarray(0, 4);
  yield BYTES.subarray(4);
}

/** A registry that takes pushes; a PUT wants a token first when `guarded`. */
async function taking(
  t: TestContext,
  guarded = false,
): Promise<TestRegistry & { bodies: Buffer[] }> {
  const bodies: Buffer[] = [];
  const put = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { authorization, host } = request.headers;
    const body = await buffer(request);
    if (guarded && authorization === undefined) {
      const challenge = `Bearer realm="http://${host}/token"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
      return;
    }
    bodies.push(body);
    response.writeHead(201).end();
  };
  const registry = await testRegistry(t, (request, response) => {
    const { method, url } = request;
    if (method === 'PUT') void put(request, response);
    else if (method === 'HEAD') response.writeHead(404).end();
    else if (url === '/token') response.end('{"token":"good"}');
    else response.writeHead(202, { location: `${UPLOADS}1?state=a%26b` }).end();
  });
  return { ...registry, bodies };
}

test('a manifest is asked for in every type, and found by tag and by digest', async (t) => {
  const headers = {
    'content-type': `${OCI_MANIFEST}; charset=utf-8`,
    'docker-content-digest': DIGEST,
    'content-length': BYTES.length,
  };
  const registry = await testRegistry(t, ({ method }, response) => {
    response.writeHead(200, headers).end(method === 'HEAD' ? undefined : BYTES);
  });
  const client = registry.client({ userAgent: 'flotilla/1' });
  for (const reference of [TAG, BY_DIGEST]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const head = await client.headManifest(REPOSITORY, reference);
    assert.deepEqual(head, { digest: DIGEST, mediaType: OCI_MANIFEST, size: 10 });
    // oxlint-disable-next-line no-await-in-loop
    const found = await client.getManifest(REPOSITORY, reference);
    assert.deepEqual(found, { bytes: BYTES, digest: DIGEST, mediaType: OCI_MANIFEST });
  }
  const { accept = '', 'user-agent': agent } = registry.requests[0]?.headers ?? {};
  for (const type of [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST]) assert.ok(accept.includes(type));
  assert.equal(agent, 'flotilla/1');
  assert.equal(registry.requests.at(-1)?.url, `/v2/${REPOSITORY}/manifests/${DIGEST}`);
  assert.deepEqual(await client.headBlob(REPOSITORY, DIGEST), { size: 10 });
});

test('a registry that answers HEAD for other content than asked is not believed', async (t) => {
  const other = digestOf(Buffer.from('other'));
  const registry = await testRegistry(t, (_request, response) => {
    response.setHeader('docker-content-digest', other);
    response.setHeader('content-length', 10);
    response.end();
  });
  const client = registry.client();
  const wrong = { code: 'DIGEST_MISMATCH' };
  await assert.rejects(client.headManifest(REPOSITORY, { kind: 'digest', digest: DIGEST }), wrong);
  await assert.rejects(client.headBlob(REPOSITORY, DIGEST), wrong);
  assert.equal((await client.headManifest(REPOSITORY, TAG))?.digest, other, 'a tag may name any');
  const sha512 = digestOf(BYTES, 'sha512');
  assert.deepEqual(await client.headBlob(REPOSITORY, sha512), { size: 10 });
});

test('a manifest whose registry tells little is still found', async (t) => {
  const registry = await testRegistry(t, ({ method }, response) => {
    response.setHeader('transfer-encoding', 'chunked');
    response.setHeader('docker-content-digest', 'sha256:nonsense');
    response.end(method === 'HEAD' ? undefined : BYTES);
  });
  const client = registry.client();
  const head = await client.headManifest(REPOSITORY, TAG);
  assert.deepEqual(head, { digest: undefined, mediaType: '', size: 0 });
  const found = await client.getManifest(REPOSITORY, TAG);
  assert.deepEqual(found, { bytes: BYTES, digest: DIGEST, mediaType: '' });
});

test('a blob is pushed to the place the registry names, in one piece or several', async (t) => {
  const registry = await taking(t);
  const client = registry.client();
  await client.pushBlob(REPOSITORY, DIGEST, BYTES.length, twoPieces);
  assert.deepEqual(registry.bodies, [BYTES]);
  const put = registry.requests.at(-1);
  const { pathname, searchParams } = new URL(put?.url ?? '', registry.url);
  assert.equal(pathname, `${UPLOADS}1`);
  assert.deepEqual(Object.fromEntries(searchParams), { state: 'a&b', digest: DIGEST });
  assert.equal(put?.headers['content-length'], '10');
});

test('a push that is challenged in its middle is sent again whole', async (t) => {
  const registry = await taking(t, true);
  const client = registry.client();
  await client.pushBlob(REPOSITORY, DIGEST, BYTES.length, twoPieces);
  await client.pushManifest(REPOSITORY, TAG, BYTES, OCI_MANIFEST);
  assert.deepEqual(registry.bodies, [BYTES, BYTES]);
  assert.equal(registry.requests.at(-1)?.headers['content-type'], OCI_MANIFEST);
});

test('a blob that is there is not pushed, also when its size is not told', async (t) => {
  const registry = await testRegistry(t, (_request, response) => {
    response.setHeader('transfer-encoding', 'chunked');
    response.end();
  });
  await registry.client().pushBlob(REPOSITORY, DIGEST, 10, notSent);
  assert.deepEqual(
    registry.requests.map(({ method }) => method),
    ['HEAD'],
  );
});

test('a push that is refused tells the status', async (t) => {
  const registry = await testRegistry(t, ({ method }, response) => {
    response.writeHead(method === 'HEAD' ? 404 : 403).end();
  });
  const client = registry.client();
  const pushes = [
    () => client.pushBlob(REPOSITORY, DIGEST, 10, twoPieces),
    () => client.pushManifest(REPOSITORY, TAG, BYTES, OCI_MANIFEST),
  ];
  for (const push of pushes) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(push(), { data: { code: 'HTTP_STATUS', status: 403 } });
  }
});

test('many calls at once share few connections and all end', async (t) => {
  const registry = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const client = registry.client();
  const calls = Array.from({ length: 200 }, () => client.openBlob(REPOSITORY, DIGEST));
  const bodies = await Promise.all(calls.map(async (call) => bytesOf((await call)?.body)));
  assert.ok(bodies.every((body) => body.equals(BYTES)));
  assert.ok(registry.sockets.size <= 32);
});
