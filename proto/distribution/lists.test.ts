import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { OCI_INDEX } from '../oci/media-types.ts';
import { parseReference } from '../oci/name.ts';
import { fallbackTag } from './lists.ts';
import { BYTES, DIGEST, REPOSITORY, testRegistry } from './test-registry.ts';

const TAG = parseReference('latest');
const DESCRIPTOR = { mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 10 };

function index(...contents: string[]): string {
  const manifests = contents.map((text) => ({
    ...DESCRIPTOR,
    digest: digestOf(Buffer.from(text)),
    artifactType: 'test/signature',
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

test('a manifest is asked for under a condition, and may be unchanged', async (t) => {
  const registry = await testRegistry(t, ({ headers }, response) => {
    const status = headers['if-none-match'] === '"v1"' ? 304 : 200;
    response.setHeader('docker-content-digest', DIGEST);
    response.writeHead(status, { etag: '"v1"', 'content-type': 'a/b; c=d' }).end();
  });
  const client = registry.client();
  const head = await client.askManifest(REPOSITORY, TAG);
  assert.deepEqual(head, { digest: DIGEST, mediaType: 'a/b', size: undefined, etag: '"v1"' });
  assert.equal(await client.askManifest(REPOSITORY, TAG, { ifNoneMatch: '"v1"' }), 'unchanged');
  const other = await client.askManifest(REPOSITORY, TAG, { ifNoneMatch: '"v0"' });
  assert.notEqual(other, 'unchanged');
  assert.deepEqual(
    registry.requests.map(({ method }) => method),
    ['HEAD', 'HEAD', 'HEAD'],
  );
});

test('nobody is told "unchanged" who did not ask', async (t) => {
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(304, { etag: 'no entity tag' }).end();
  });
  const asked = registry.client().askManifest(REPOSITORY, TAG);
  await assert.rejects(asked, { data: { code: 'HTTP_STATUS', status: 304 } });
});

test('who asks sees every answer on the way, with its headers', async (t) => {
  const registry = await testRegistry(t, ({ url = '', headers }, response) => {
    response.setHeader('ratelimit-remaining', '7;w=60');
    if (url.startsWith('/token')) response.end('{"token":"x"}');
    else if (headers.authorization === undefined) {
      const challenge = `Bearer realm="http://${headers.host}/token"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    } else response.end(BYTES);
  });
  const seen: string[] = [];
  await registry.client().readBlob(REPOSITORY, DIGEST, {
    maxBytes: 100,
    onAnswer: ({ url, isOwn, status, header }) =>
      seen.push(`${url.pathname.slice(0, 6)} ${isOwn} ${status} ${header('ratelimit-remaining')}`),
  });
  assert.deepEqual(seen, [
    '/v2/te true 401 7;w=60',
    '/token true 200 7;w=60',
    '/v2/te true 200 7;w=60',
  ]);
});

test('tags come page by page, as the registry leads', async (t) => {
  const registry = await testRegistry(t, ({ url = '' }, response) => {
    if (url.includes('cursor=2')) return void response.end('{"name":"x","tags":["c"]}');
    response.setHeader('link', `</v2/${REPOSITORY}/tags/list?cursor=2>; rel="next"`);
    return void response.end('{"name":"x","tags":["a","b"," no tag",5]}');
  });
  const client = registry.client();
  const first = await client.tagPage(REPOSITORY, { n: 2, last: '0' });
  assert.deepEqual(first?.tags, ['a', 'b']);
  assert.ok(first.next);
  const second = await client.tagPage(REPOSITORY, { next: first.next });
  assert.deepEqual(second, { tags: ['c'], next: undefined });
  assert.match(registry.requests[0]?.url ?? '', /\/tags\/list\?n=2&last=0$/);
});

test('a next page at another host is refused, and so is what is no list', async (t) => {
  const answers = ['<!DOCTYPE html>', '{"tags":5}', '{}', '[]', '{"tags":["a"],"tags":["b"]}'];
  const registry = await testRegistry(t, ({ url = '' }, response) => {
    const wrong = answers[Number(/last=(\d)/.exec(url)?.[1] ?? -1)];
    if (wrong !== undefined) return void response.end(wrong);
    response.setHeader('link', '<https://evil.example/v2/x>; rel="next"');
    return void response.end('{"tags":["a"]}');
  });
  const client = registry.client();
  const page = client.tagPage(REPOSITORY, { n: 2 });
  await assert.rejects(page, { data: { code: 'REDIRECT_REFUSED', host: 'evil.example' } });
  for (const last of answers.keys()) {
    const asked = client.tagPage(REPOSITORY, { n: 2, last: String(last) });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(asked, { code: 'ANSWER_INVALID' }, answers[last]);
  }
});

test('referrers come from all pages of the list', async (t) => {
  const registry = await testRegistry(t, ({ url = '' }, response) => {
    if (url.includes('page=2')) return void response.end(index('c'));
    response.setHeader('link', `<${url}?page=2>; rel=next`);
    return void response.end(index('a', 'b'));
  });
  const found = await registry.client().referrers(REPOSITORY, DIGEST);
  assert.deepEqual(
    found?.map(({ digest }) => digest),
    ['a', 'b', 'c'].map((text) => digestOf(Buffer.from(text))),
  );
  assert.equal(found?.[0]?.artifactType, 'test/signature');
});

test('a registry that lists no referrers is asked for the tag that does', async (t) => {
  const known = { tag: true };
  const registry = await testRegistry(t, ({ url = '' }, response) => {
    const found = known.tag && url === `/v2/${REPOSITORY}/manifests/${DIGEST.replace(':', '-')}`;
    response.writeHead(found ? 200 : 404, { 'content-type': OCI_INDEX });
    response.end(found ? index('a') : undefined);
  });
  const client = registry.client();
  assert.equal(await client.listReferrers(REPOSITORY, DIGEST), undefined);
  assert.equal((await client.referrers(REPOSITORY, DIGEST))?.length, 1);
  known.tag = false;
  assert.equal(await client.referrers(REPOSITORY, DIGEST), undefined);
  const long = fallbackTag(digestOf(BYTES, 'sha512'));
  assert.equal(long.kind === 'tag' && long.tag.length, 'sha512-'.length + 64);
});
