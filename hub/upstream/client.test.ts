import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf } from '../../proto/distribution/test-registry.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { BLOB, BLOB_DIGEST, CountingRegistry, INTERACTIVE, LATEST } from './upstream-fixture.ts';
import { MANIFEST, MANIFEST_DIGEST, REMOTE, SCHEDULED, upstreamRig } from './upstream-fixture.ts';

const HOUR_MS = 3_600_000;
const FREE = { limit: 1000, windowMs: HOUR_MS };
const BY_DIGEST = parseReference(MANIFEST_DIGEST);

test('what an upstream has comes as it has it', async (t) => {
  const { upstream } = await upstreamRig(t, new CountingRegistry(FREE).answer);
  const head = await upstream.headManifest(REMOTE, LATEST, INTERACTIVE);
  assert.ok(head !== undefined && head !== 'unchanged');
  assert.equal(head.size, MANIFEST.length);
  const manifest = await upstream.getManifest(REMOTE, BY_DIGEST, INTERACTIVE);
  assert.deepEqual(manifest?.bytes, MANIFEST);
  assert.equal(manifest.digest, MANIFEST_DIGEST);
  assert.deepEqual(await upstream.headBlob(REMOTE, BLOB_DIGEST, INTERACTIVE), { size: 20 });
  const blob = await upstream.openBlob(REMOTE, BLOB_DIGEST, SCHEDULED);
  assert.deepEqual(await bytesOf(blob?.body), BLOB);
  const nothing = await upstream.openBlob(REMOTE, MANIFEST_DIGEST, SCHEDULED);
  assert.equal(nothing, undefined);
});

test('only repositories that the configuration allows are asked for', async (t) => {
  const settings = { repositories: ['library/*'] };
  const { upstream, registry } = await upstreamRig(t, new CountingRegistry(FREE).answer, {
    settings,
  });
  const other = parseRepository('team/app');
  const asked = [
    upstream.getManifest(other, LATEST, INTERACTIVE),
    upstream.openBlob(other, BLOB_DIGEST, INTERACTIVE),
  ];
  for (const one of asked) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(one, { code: 'NOT_ALLOWED' });
  }
  assert.equal(registry.requests.length, 0);
});

test('tags come on from where a page ended, however the registry leads there', async (t) => {
  const { upstream, registry } = await upstreamRig(t, ({ url = '' }, response) => {
    if (url.includes('cursor=2')) return void response.end('{"tags":["a"]}');
    response.setHeader('link', `</v2/${REMOTE}/tags/list?cursor=2>; rel="next"`);
    return void response.end('{"tags":["z","b"]}');
  });
  assert.deepEqual(await upstream.tags(REMOTE, { n: 2 }, SCHEDULED), ['z', 'b']);
  assert.deepEqual(await upstream.tags(REMOTE, { n: 2, last: 'b' }, SCHEDULED), ['a']);
  assert.deepEqual(await upstream.tags(REMOTE, { n: 2, last: 'a' }, SCHEDULED), []);
  assert.equal(registry.requests.length, 2, 'the end is known');
});

test('a registry that sends all tags at once is read once', async (t) => {
  const { upstream } = await upstreamRig(t, (_request, response) => {
    response.end('{"tags":["a","b","c"]}');
  });
  assert.deepEqual(await upstream.tags(REMOTE, { n: 1, last: 'b' }, SCHEDULED), ['c']);
});

test('referrers are those of the list, else of the tag, whose pull is counted', async (t) => {
  const registry = new CountingRegistry(FREE);
  const signature = { mediaType: OCI_INDEX, digest: BLOB_DIGEST, size: 1 };
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [signature] };
  const { upstream, metric } = await upstreamRig(t, registry.answer);
  assert.equal(
    await upstream.referrers(REMOTE, BLOB_DIGEST, SCHEDULED).catch(() => 'none'),
    'none',
  );
  registry.instead = ({ url = '' }, response) => {
    if (url.includes('/referrers/')) response.writeHead(404).end();
    else response.setHeader('content-type', OCI_INDEX).end(JSON.stringify(index));
    return true;
  };
  const found = await upstream.referrers(REMOTE, MANIFEST_DIGEST, SCHEDULED);
  assert.deepEqual(found, [signature]);
  assert.equal(await metric('upstream_requests_total', 'kind="pull",result="ok"'), 1);
});

test('what nothing refers to costs no pull', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream, registry: server, metric } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.writeHead(404).end();
    return true;
  };
  assert.equal(await upstream.referrers(REMOTE, MANIFEST_DIGEST, INTERACTIVE), undefined);
  assert.deepEqual(
    server.requests.map(({ method }) => method),
    ['GET', 'HEAD'],
  );
  assert.equal(await metric('upstream_requests_total', 'kind="pull"'), 0);
});

test('a page for people and a compressed answer are no content', async (t) => {
  const registry = new CountingRegistry(FREE);
  const { upstream } = await upstreamRig(t, registry.answer);
  registry.instead = (_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!DOCTYPE html><p>Log in to the wifi');
    return true;
  };
  const page = upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
  await assert.rejects(page, { code: 'ANSWER_INVALID', message: /text\/html/ });
  registry.instead = (_request, response) => {
    response.setHeader('content-encoding', 'gzip').end(BLOB);
    return true;
  };
  const packed = [
    upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE),
    upstream.getManifest(REMOTE, LATEST, INTERACTIVE),
  ];
  // oxlint-disable-next-line no-await-in-loop -- one after the other
  for (const one of packed) await assert.rejects(one, { code: 'ENCODED' });
});

test('bytes take the time that the bandwidth gives them', async (t) => {
  const settings = { bandwidth: '10KB' };
  const { upstream, clock, metric } = await upstreamRig(
    t,
    (_request, response) => {
      response.end(Buffer.alloc(30_000));
    },
    { settings },
  );
  const blob = await upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  const startedMs = clock.ms;
  assert.equal((await bytesOf(blob?.body)).length, 30_000);
  const tookMs = clock.ms - startedMs;
  assert.ok(tookMs >= 2_700 && tookMs <= 3_000, `${tookMs} ms for 3 s of bytes`);
  assert.equal(await metric('upstream_received_bytes_total'), 30_000);
});

test('no more requests run at once than are configured, a body until its end', async (t) => {
  // One of them is kept for what is answered at once.
  const settings = { connections: 3, reserve: 0 };
  const { upstream, registry, metric } = await upstreamRig(t, new CountingRegistry(FREE).answer, {
    settings,
  });
  const open = () => upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  const [first, second] = await Promise.all([open(), open()]);
  const third = open();
  assert.equal(await metric('upstream_connections'), 2);
  assert.equal(registry.requests.length, 2);
  await bytesOf(first?.body);
  const last = await third;
  assert.equal(registry.requests.length, 3);
  await Promise.all([bytesOf(second?.body), bytesOf(last?.body)]);
  assert.equal(await metric('upstream_connections'), 0);
});

test('a body that is given up gives its turn to the next', async (t) => {
  const settings = { connections: 2, reserve: 0 };
  const { upstream, metric } = await upstreamRig(t, new CountingRegistry(FREE).answer, {
    settings,
  });
  const given = new AbortController();
  const { signal } = given;
  await upstream.openBlob(REMOTE, BLOB_DIGEST, { ...INTERACTIVE, signal });
  assert.equal(await metric('upstream_connections'), 1);
  given.abort();
  assert.equal(await metric('upstream_connections'), 0);
});
