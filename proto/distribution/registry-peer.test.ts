import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test, type TestContext } from 'node:test';
import { parseRepository } from '../oci/name.ts';
import { RegistryPeer } from './registry-peer.ts';
import { BYTES, DIGEST, REPOSITORY, testRegistry } from './test-registry.ts';
import { Transport } from './transport.ts';

async function peerOf(t: TestContext, answer: RequestListener) {
  const registry = await testRegistry(t, answer);
  const transport = new Transport({ baseUrl: registry.url, allowPlainHttp: false });
  t.after(() => transport.close());
  return { peer: new RegistryPeer({ transport }), registry };
}

const UPLOAD = { location: '/v2/team/app/blobs/uploads/1?state=a', offset: 0, chunkMin: 0 };
const body = async function* body(): AsyncIterable<Buffer> {
  yield BYTES;
};

test('an upload goes from place to place as the registry says', async (t) => {
  const { peer, registry } = await peerOf(t, (request, response) => {
    const next = request.method === 'PATCH' ? 'b' : 'c';
    response.statusCode = { POST: 202, PATCH: 202, PUT: 201 }[request.method ?? ''] ?? 204;
    response.setHeader('location', `/v2/team/app/blobs/uploads/1?state=${next}`);
    response.setHeader('range', '0-4');
    response.setHeader('oci-chunk-min-length', '5');
    response.end();
  });
  const begun = await peer.begin(REPOSITORY, undefined, {});
  assert.ok(begun !== 'mounted');
  assert.deepEqual([begun.offset, begun.chunkMin], [0, 5]);
  const known = await peer.status(begun.location, {});
  assert.equal(known?.offset, 5, 'as far as the registry has it');
  const next = await peer.append({ ...begun, offset: 5 }, BYTES.length, body, {});
  assert.equal(next.offset, 5 + BYTES.length);
  await peer.finish(next, DIGEST, undefined, {});
  const [, , patch, put] = registry.requests;
  assert.equal(patch?.headers['content-range'], '5-14');
  const digest = encodeURIComponent(DIGEST);
  assert.equal(put?.url, `/v2/team/app/blobs/uploads/1?state=b&digest=${digest}`);
});

test('an upload is not taken to another host', async (t) => {
  const { peer } = await peerOf(t, (_request, response) => {
    response.statusCode = 202;
    response.setHeader('location', 'http://127.0.0.2/v2/upload');
    response.end();
  });
  const elsewhere = { code: 'REDIRECT_REFUSED' };
  await assert.rejects(peer.begin(REPOSITORY, undefined, {}), elsewhere);
  await assert.rejects(peer.append(UPLOAD, BYTES.length, body, {}), elsewhere);
});

test('an upload that is gone is told as that, a registry in trouble is not', async (t) => {
  const statuses = [404, 503, 429];
  const { peer } = await peerOf(t, (_request, response) => {
    response.statusCode = statuses.shift() ?? 500;
    response.end();
  });
  assert.equal(await peer.status(UPLOAD.location, {}), undefined);
  for (const status of [503, 429]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(peer.status(UPLOAD.location, {}), {
      data: { code: 'HTTP_STATUS', status },
    });
  }
});

test('a mount that is not done is the begin of an upload', async (t) => {
  const statuses = [201, 202];
  const { peer, registry } = await peerOf(t, (_request, response) => {
    response.statusCode = statuses.shift() ?? 500;
    response.setHeader('location', UPLOAD.location);
    response.end();
  });
  const mount = { digest: DIGEST, from: parseRepository('team/base') };
  assert.equal(await peer.begin(REPOSITORY, mount, {}), 'mounted');
  assert.deepEqual(await peer.begin(REPOSITORY, mount, {}), UPLOAD);
  assert.match(registry.requests[0]?.url ?? '', /\?mount=sha256:[0-9a-f]+&from=team%2Fbase$/);
});

test('repositories come in pages; a registry that lists none says so', async (t) => {
  const pages = [
    { repositories: ['a/b', 'Not A Name', 7], link: '</v2/_catalog?last=b>; rel="next"' },
    { repositories: ['c'], link: '' },
  ];
  const { peer } = await peerOf(t, (_request, response) => {
    const page = pages.shift();
    response.statusCode = page === undefined ? 401 : 200;
    if (page?.link) response.setHeader('link', page.link);
    response.end(JSON.stringify(page ?? {}));
  });
  const first = await peer.repositories(undefined, {});
  assert.deepEqual(first, { repositories: ['a/b'], next: '/v2/_catalog?last=b' });
  assert.deepEqual((await peer.repositories(first.next, {}))?.repositories, ['c']);
  assert.equal(await peer.repositories(undefined, {}), undefined);
});

test('what a registry does not delete is told apart from what it has not', async (t) => {
  const statuses = [202, 404, 405, 500];
  const { peer } = await peerOf(t, (_request, response) => {
    response.statusCode = statuses.shift() ?? 500;
    response.end();
  });
  const remove = () => peer.deleteManifest(REPOSITORY, { kind: 'digest', digest: DIGEST }, {});
  assert.equal(await remove(), 'deleted');
  assert.equal(await remove(), 'unknown');
  assert.equal(await remove(), 'refused');
  await assert.rejects(remove(), { code: 'HTTP_STATUS' });
});
