import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { TAGS_PER_PUSH_MAX } from './constants.ts';
import { assertRefused, TestRegistry } from './registry-fixture.ts';

const EMPTY = Buffer.from('{}');
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

function descriptor(bytes: Buffer, mediaType: string) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** An image that needs the empty object alone. */
function imageOf(more: object = {}) {
  const config = descriptor(EMPTY, 'application/vnd.oci.empty.v1+json');
  return { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [], ...more };
}

function indexOf(children: readonly object[]) {
  return { schemaVersion: 2, mediaType: OCI_INDEX, manifests: children };
}

function bytesOf(manifest: object): Buffer {
  return Buffer.from(JSON.stringify(manifest));
}

async function tagsOf(hub: TestRegistry): Promise<string[]> {
  const answer = await hub.ask('/v2/team/app/tags/list');
  const { tags }: { tags: string[] } = JSON.parse(answer.body.toString());
  return tags;
}

test('one push by digest sets many tags, or none when one of them is not to be had', async (t) => {
  const hub = await TestRegistry.start(t);
  await hub.push(EMPTY);
  const digest = digestOf(bytesOf(imageOf()));
  const put = (tags: readonly string[]) =>
    hub.putManifest(`${digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`, imageOf());
  const many = Array.from({ length: TAGS_PER_PUSH_MAX + 1 }, (_, i) => `v${i}`);
  assertRefused(await put(many), 414, 'UNSUPPORTED');
  assertRefused(await put(['good', '-bad']), 400, 'TAG_INVALID');
  assert.deepEqual(await tagsOf(hub), []);
  const most = many.slice(1);
  const answer = await put([...most, 'v1']);
  assert.equal(answer.status, 201, answer.body.toString());
  assert.equal(answer.headers['oci-tag'], most.join(', '));
  assert.deepEqual(await tagsOf(hub), most.toSorted());
  const plain = await hub.putManifest('other?tag=ignored', imageOf());
  assert.equal(plain.headers['oci-tag'], undefined);
  assert.equal((await tagsOf(hub)).includes('ignored'), false);
});

test('what is not here may be named as far as the settings say, and gives no rights', async (t) => {
  const image = imageOf({ layers: [descriptor(randomBytes(9), LAYER)] });
  const index = indexOf([descriptor(bytesOf(image), OCI_MANIFEST)]);
  for (const indexes of [false, true]) {
    for (const images of [false, true]) {
      // oxlint-disable no-await-in-loop -- one registry after the other
      const hub = await TestRegistry.start(t, { sparse: { indexes, images } });
      await hub.push(EMPTY);
      const asked = [
        [await hub.putManifest('index', index, OCI_INDEX), indexes],
        [await hub.putManifest('image', image), images],
      ] as const;
      for (const [answer, allowed] of asked) {
        if (allowed) assert.equal(answer.status, 201, answer.body.toString());
        else assertRefused(answer, 404, 'MANIFEST_BLOB_UNKNOWN');
      }
      const reached = await hub.catalog.reachable('team/app', digestOf(bytesOf(image)));
      assert.deepEqual(reached?.digests, images ? [digestOf(EMPTY)] : undefined);
      // oxlint-enable no-await-in-loop
    }
  }
});

test('a client that names our host is told so, one that names another is not', async (t) => {
  const hub = await TestRegistry.start(t, { names: ['hub.example', 'docker.io'] });
  const digest = await hub.push(EMPTY);
  const told = async (namespace: string) => {
    const answer = await hub.ask(`/v2/team/app/blobs/${digest}?ns=${namespace}`);
    assert.equal(answer.status, 200);
    return answer.headers['oci-namespace'];
  };
  const { host } = new URL(hub.url);
  for (const namespace of ['hub.example', 'HUB.example', 'registry-1.docker.io', host]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await told(namespace), namespace);
  }
  assert.equal(await told('other.example'), undefined);
  assert.equal(await told('hub.example%0d%0ax:y'), undefined);
  assert.equal(await told('doc%E2%84%AAer.io'), undefined, 'a letter that is a k in lower case');
  const push = await hub.ask('/v2/team/app/blobs/uploads/?ns=hub.example', { method: 'POST' });
  assert.equal(push.headers['oci-namespace'], undefined);
});

test('an algorithm that is announced has to be one the hub knows', async (t) => {
  const hub = await TestRegistry.start(t);
  for (const [algorithm, status] of [
    ['sha256', 202],
    ['sha512', 202],
    ['md5', 400],
    ['toString', 400],
    ['', 400],
  ] as const) {
    const target = `/v2/team/app/blobs/uploads/?digest-algorithm=${algorithm}`;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await hub.ask(target, { method: 'POST' })).status, status, algorithm);
  }
});

test('a page of referrers links to the next one with its filter', async (t) => {
  const hub = await TestRegistry.start(t);
  await hub.push(EMPTY);
  const subject = descriptor(randomBytes(9), OCI_MANIFEST);
  const wanted: string[] = [];
  for (const i of [0, 1, 2, 3, 4]) {
    const artifactType = i === 3 ? 'text/other' : 'text/a+b';
    const manifest = imageOf({ subject, artifactType, annotations: { i: String(i) } });
    const digest = digestOf(bytesOf(manifest));
    if (i !== 3) wanted.push(digest);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await hub.putManifest(digest, manifest)).status, 201);
  }
  const start = `/v2/team/app/referrers/${subject.digest}`;
  const seen: string[] = [];
  let next: string | undefined = `${start}?n=3&artifactType=text%2Fa%2Bb`;
  while (next !== undefined) {
    // oxlint-disable-next-line no-await-in-loop -- page after page
    const answer = await hub.ask(next);
    assert.equal(answer.headers['oci-filters-applied'], 'artifactType');
    const page: { manifests: { digest: string }[] } = JSON.parse(answer.body.toString());
    assert.ok(page.manifests.length <= 3);
    seen.push(...page.manifests.map(({ digest }) => digest));
    const { link } = answer.headers;
    next = typeof link === 'string' ? /^<([^>]+)>; rel="next"$/.exec(link)?.[1] : undefined;
  }
  assert.deepEqual(seen, wanted.toSorted());
  assertRefused(await hub.ask(`${start}?last=v1`), 400, 'DIGEST_INVALID');
  assertRefused(await hub.ask(`${start}?n=x`), 400, 'UNSUPPORTED');
});

test('a list of referrers that clients kept under a tag adds nothing to ours', async (t) => {
  const hub = await TestRegistry.start(t);
  await hub.push(EMPTY);
  const subject = descriptor(bytesOf(imageOf()), OCI_MANIFEST);
  const attached = imageOf({ subject });
  const stranger = imageOf({ annotations: { subject: 'none' } });
  const listed = [attached, stranger].map((one) => descriptor(bytesOf(one), OCI_MANIFEST));
  for (const one of [attached, stranger]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await hub.putManifest(digestOf(bytesOf(one)), one);
  }
  const tag = subject.digest.replace(':', '-');
  assert.equal((await hub.putManifest(tag, indexOf(listed), OCI_INDEX)).status, 201);
  const answer = await hub.ask(`/v2/team/app/referrers/${subject.digest}`);
  const { manifests }: { manifests: { digest: string }[] } = JSON.parse(answer.body.toString());
  assert.deepEqual(
    manifests.map(({ digest }) => digest),
    [digestOf(bytesOf(attached))],
  );
  assert.deepEqual(await tagsOf(hub), [tag]);
});

test('a mount takes a blob from where the client may pull it, from nowhere else', async (t) => {
  const hub = await TestRegistry.start(t, { mayPull: (name) => name.startsWith('open/') });
  const [open, secret] = [randomBytes(20), randomBytes(20)];
  const here = await hub.push(open, 'open/source');
  const there = await hub.push(secret, 'secret/source');
  await hub.push(open, 'a-secret/source');
  const mount = async (digest: string, more: string, to = 'open/target') => {
    const target = `/v2/${to}/blobs/uploads/?mount=${digest}${more}`;
    return (await hub.ask(target, { method: 'POST' })).status;
  };
  assert.equal(await mount(there, '&from=secret/source'), 202);
  assert.equal(await mount(there, ''), 202);
  assert.equal(await mount(here, '&from=a-secret/source'), 202);
  assert.equal((await hub.ask(`/v2/open/target/blobs/${there}`)).status, 404);
  assert.equal(await mount(here, '', 'open/other'), 201);
  assert.ok((await hub.ask(`/v2/open/other/blobs/${here}`)).body.equals(open));
  assert.equal(await mount(here, '&from=open/source'), 201);
  assert.equal(await mount(there, '', 'secret/source'), 201, 'it is there already');
});
