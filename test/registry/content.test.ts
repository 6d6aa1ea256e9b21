import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { assertRefused, TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

const CONFIG = { mediaType: 'application/vnd.oci.image.config.v1+json', size: 2 };

function index(manifests: object[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

async function manifestOf(more: object, repository = 'team/app'): Promise<string> {
  const digest = await hub.push(Buffer.from('{}'), repository);
  const head = { schemaVersion: 2, mediaType: OCI_MANIFEST };
  return JSON.stringify({ ...head, config: { ...CONFIG, digest }, layers: [], ...more });
}

test('a blob by range: part, tail, suffix, beyond the end, several', async () => {
  const bytes = randomBytes(10_000);
  const digest = await hub.push(bytes);
  const cases: [range: string, status: number, expected: Buffer, content?: string][] = [
    ['bytes=0-0', 206, bytes.subarray(0, 1), 'bytes 0-0/10000'],
    ['bytes=9990-', 206, bytes.subarray(9_990), 'bytes 9990-9999/10000'],
    ['bytes=-5', 206, bytes.subarray(9_995), 'bytes 9995-9999/10000'],
    ['bytes=5000-99999', 206, bytes.subarray(5_000), 'bytes 5000-9999/10000'],
    ['bytes=0-1,5-6', 200, bytes],
    ['bytes=junk', 200, bytes],
  ];
  for (const [range, status, expected, contentRange] of cases) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(`/v2/team/app/blobs/${digest}`, { headers: { range } });
    assert.equal(answer.status, status, range);
    assert.ok(answer.body.equals(expected), range);
    assert.equal(answer.headers['content-range'], contentRange, range);
    assert.equal(answer.headers['content-length'], String(expected.length));
  }
  const beyond = await hub.ask(`/v2/team/app/blobs/${digest}`, {
    headers: { range: 'bytes=10000-' },
  });
  assertRefused(beyond, 416, 'SIZE_INVALID');
  assert.equal(beyond.headers['content-range'], 'bytes */10000');
});

test('HEAD says what GET would send, without a body', async () => {
  const { digest, bytes } = await hub.pushImage('head', [randomBytes(5_000)]);
  for (const target of ['manifests/head', `manifests/${digest}`]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const head = await hub.ask(`/v2/team/app/${target}`, { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    assert.equal(head.headers['content-length'], String(bytes.length));
    assert.equal(head.headers['docker-content-digest'], digest);
    assert.equal(head.headers['content-type'], OCI_MANIFEST);
  }
});

test('bytes are never encoded, whatever the client would take', async () => {
  const bytes = Buffer.alloc(50_000, 'a');
  const digest = await hub.push(bytes);
  const headers = { 'accept-encoding': 'gzip, zstd, br' };
  const answer = await hub.ask(`/v2/team/app/blobs/${digest}`, { headers });
  assert.equal(answer.headers['content-encoding'], undefined);
  assert.ok(answer.body.equals(bytes));
});

test('a manifest comes back byte for byte, by tag and by digest', async () => {
  const text = `${await manifestOf({ annotations: { a: '1' } })}\n  `;
  const answer = await hub.putManifest('bytes', text);
  assert.equal(answer.status, 201);
  const digest = digestOf(Buffer.from(text));
  assert.equal(answer.headers['docker-content-digest'], digest);
  for (const reference of ['bytes', digest]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const got = await hub.ask(`/v2/team/app/manifests/${reference}`);
    assert.equal(got.body.toString(), text);
  }
  const same = await hub.ask(`/v2/team/app/manifests/${digest}`, {
    headers: { 'if-none-match': `"${digest}"` },
  });
  assert.equal(same.status, 304);
});

test('a tag moves, and the manifest it left is still there', async () => {
  const first = await hub.pushImage('moving', [randomBytes(100)]);
  const second = await hub.pushImage('moving', [randomBytes(100)]);
  const head = await hub.ask('/v2/team/app/manifests/moving', { method: 'HEAD' });
  assert.equal(head.headers['docker-content-digest'], second.digest);
  assert.equal((await hub.ask(`/v2/team/app/manifests/${first.digest}`)).status, 200);
  const again = await hub.putManifest('moving', first.bytes);
  assert.equal(again.status, 201);
});

test('manifests that are not what they say are refused', async () => {
  const proper = await manifestOf({});
  const zeros = `sha256:${'0'.repeat(64)}`;
  const layer = { mediaType: 'application/octet-stream', digest: zeros, size: 1 };
  const cases: [what: string, body: string, code: string][] = [
    ['no JSON', '{', 'MANIFEST_INVALID'],
    ['an empty body', '', 'MANIFEST_INVALID'],
    ['a list', '[]', 'MANIFEST_INVALID'],
    ['a key twice', proper.replace('{', '{"schemaVersion":2,'), 'MANIFEST_INVALID'],
    ['a negative size', await manifestOf({ layers: [{ ...layer, size: -1 }] }), 'MANIFEST_INVALID'],
    [
      'a fraction as size',
      await manifestOf({ layers: [{ ...layer, size: 1.5 }] }),
      'MANIFEST_INVALID',
    ],
    [
      'a digest that is none',
      await manifestOf({ layers: [{ ...layer, digest: 'x' }] }),
      'MANIFEST_INVALID',
    ],
    ['layers that are no list', await manifestOf({ layers: {} }), 'MANIFEST_INVALID'],
    ['a layer that is not here', await manifestOf({ layers: [layer] }), 'MANIFEST_BLOB_UNKNOWN'],
  ];
  for (const [what, body, code] of cases) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.putManifest('refused', body);
    assert.equal(answer.status === 400 || answer.status === 404, true, `${what}: ${answer.status}`);
    assertRefused(answer, answer.status, code);
  }
  assertRefused(await hub.ask('/v2/team/app/manifests/refused'), 404, 'MANIFEST_UNKNOWN');
});

test('a manifest of another digest or media type than announced is refused', async () => {
  const text = await manifestOf({});
  const other = digestOf(Buffer.from('other'));
  assertRefused(await hub.putManifest(other, text), 400, 'DIGEST_INVALID');
  assertRefused(await hub.putManifest('v1', text, DOCKER_MANIFEST), 400, 'MANIFEST_INVALID');
});

test('a manifest beyond the limit is refused, whether or not it says its length', async () => {
  const big = Buffer.alloc(MANIFEST_MAX_BYTES + 1, ' ');
  assertRefused(await hub.putManifest('big', big), 413, 'MANIFEST_INVALID');
  const streamed = await hub.ask('/v2/team/app/manifests/big', {
    method: 'PUT',
    headers: { 'content-type': OCI_MANIFEST },
    body: (async function* () {
      for (let sent = 0; sent < 8 * MANIFEST_MAX_BYTES; sent += 65_536) yield Buffer.alloc(65_536);
    })(),
  });
  assertRefused(streamed, 413, 'MANIFEST_INVALID');
});

test('an index needs its manifests, a foreign layer and a subject need not be here', async () => {
  const { digest, bytes } = await hub.pushImage('child', [randomBytes(10)]);
  const child = { mediaType: OCI_MANIFEST, digest, size: bytes.length };
  assert.equal((await hub.putManifest('index', index([child]), OCI_INDEX)).status, 201);
  const absent = { ...child, digest: digestOf(Buffer.from('absent')) };
  assertRefused(
    await hub.putManifest('index2', index([child, absent]), OCI_INDEX),
    404,
    'MANIFEST_BLOB_UNKNOWN',
  );
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: absent.digest,
    size: 10,
    urls: ['https://example.com/layer'],
  };
  const text = await manifestOf({ layers: [foreign], subject: absent });
  const answer = await hub.putManifest('foreign', text);
  assert.equal(answer.status, 201, answer.body.toString());
  assert.equal(answer.headers['oci-subject'], absent.digest);
});

test('referrers are listed with artifact type and annotations, and filtered', async () => {
  const subject = await hub.pushImage('subject', [randomBytes(10)], {}, 'team/refs');
  const descriptor = {
    mediaType: OCI_MANIFEST,
    digest: subject.digest,
    size: subject.bytes.length,
  };
  for (const artifactType of ['application/sbom', 'application/signature']) {
    const text = await manifestOf(
      { artifactType, subject: descriptor, annotations: { of: artifactType } },
      'team/refs',
    );
    const digest = digestOf(Buffer.from(text));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.putManifest(digest, text, OCI_MANIFEST, 'team/refs');
    assert.equal(answer.status, 201);
  }
  type Index = { manifests: { artifactType: string; annotations: Record<string, string> }[] };
  const list = async (query: string): Promise<Index['manifests']> => {
    const answer = await hub.ask(`/v2/team/refs/referrers/${subject.digest}${query}`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], OCI_INDEX);
    const { manifests }: Index = JSON.parse(answer.body.toString());
    return manifests;
  };
  assert.equal((await list('')).length, 2);
  const [only, ...others] = await list('?artifactType=application/sbom');
  assert.deepEqual(others, []);
  assert.equal(only?.artifactType, 'application/sbom');
  assert.deepEqual(only?.annotations, { of: 'application/sbom' });
  const none = await hub.ask(`/v2/team/refs/referrers/${digestOf(Buffer.from('none'))}`);
  assert.equal(none.status, 200);
});

test('tags and repositories are paged in order without losing or repeating any', async () => {
  const tags = ['a', 'b', 'c', 'd', 'e', 'v1.0', 'v10', 'v2'];
  const text = await manifestOf({}, 'team/tags');
  for (const tag of tags) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await hub.putManifest(tag, text, OCI_MANIFEST, 'team/tags');
  }
  const seen: string[] = [];
  let next: string | undefined = '/v2/team/tags/tags/list?n=3';
  while (next !== undefined) {
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const answer = await hub.ask(next);
    const page: { name: string; tags: string[] } = JSON.parse(answer.body.toString());
    assert.ok(page.tags.length <= 3);
    seen.push(...page.tags);
    next = /^<([^>]+)>; rel="next"$/.exec(String(answer.headers['link'] ?? ''))?.[1];
  }
  assert.deepEqual(seen, tags);
  const catalog = await hub.ask('/v2/_catalog?n=1');
  const { repositories }: { repositories: string[] } = JSON.parse(catalog.body.toString());
  assert.equal(repositories.length, 1);
  assertRefused(await hub.ask('/v2/team/tags/tags/list?n=-1'), 400, 'UNSUPPORTED');
  assertRefused(await hub.ask('/v2/team/none/tags/list'), 404, 'NAME_UNKNOWN');
});

test('what is deleted is gone here and nowhere else', async () => {
  const layer = randomBytes(100);
  const { digest } = await hub.pushImage('gone', [layer], {}, 'team/del');
  await hub.pushImage('stays', [layer], {}, 'team/keep');
  const erase = (target: string) => hub.ask(`/v2/team/del/${target}`, { method: 'DELETE' });
  assert.equal((await erase('manifests/gone')).status, 202);
  assert.equal((await hub.ask(`/v2/team/del/manifests/${digest}`)).status, 200);
  assert.equal((await erase(`manifests/${digest}`)).status, 202);
  assertRefused(await hub.ask(`/v2/team/del/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN');
  assert.equal((await erase(`blobs/${digestOf(layer)}`)).status, 202);
  assertRefused(await erase(`blobs/${digestOf(layer)}`), 404, 'BLOB_UNKNOWN');
  assert.equal((await hub.ask(`/v2/team/keep/blobs/${digestOf(layer)}`)).status, 200);
});

test('content of one repository is not there in another one', async () => {
  const bytes = randomBytes(64);
  const digest = await hub.push(bytes, 'team/one');
  assertRefused(await hub.ask(`/v2/team/two/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
  const image = await hub.pushImage('v1', [randomBytes(10)], {}, 'team/one');
  assertRefused(await hub.ask(`/v2/team/two/manifests/${image.digest}`), 404, 'MANIFEST_UNKNOWN');
});
