import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { DESCRIPTORS_MAX, MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { assertRefused, TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start({ registry: { sparseIndexes: true } });
});
after(() => hub[Symbol.asyncDispose]());

const child = (n: number | string) => ({
  mediaType: OCI_MANIFEST,
  digest: `sha256:${createHash('sha256').update(String(n)).digest('hex')}`,
  size: 100,
});
const indexOf = (manifests: readonly object[], more: object = {}) =>
  JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...more });

test('an index has as many children as the limit says, and not one more', async () => {
  const most = Array.from({ length: DESCRIPTORS_MAX }, (_, n) => child(n));
  const pushed = await hub.putManifest('most', indexOf(most), OCI_INDEX);
  assert.equal(pushed.status, 201, pushed.body.toString());
  assert.equal((await hub.ask('/v2/team/app/manifests/most')).body.toString(), indexOf(most));
  const over = await hub.putManifest('over', indexOf([...most, child('more')]), OCI_INDEX);
  assertRefused(over, 400, 'MANIFEST_INVALID');
  const remove = `/v2/team/app/manifests/${digestOf(Buffer.from(indexOf(most)))}`;
  assert.equal((await hub.ask(remove, { method: 'DELETE' })).status, 202);
});

test('an index of absent children costs one look where they have to be there', async () => {
  await using strict = await TestHub.start();
  const absent = Array.from({ length: DESCRIPTORS_MAX }, (_, n) => child(n));
  const answer = await strict.putManifest('v1', indexOf(absent), OCI_INDEX);
  assertRefused(answer, 404, 'MANIFEST_BLOB_UNKNOWN');
});

test('nesting without end is refused, wherever it stands', async () => {
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    const deep = `${open.repeat(100_000)}0${close.repeat(100_000)}`;
    const texts = [
      deep,
      indexOf([], { unknown: 'X' }).replace('"X"', deep),
      indexOf([], { annotations: 'X' }).replace('"X"', deep),
      indexOf([{ ...child(1), data: 'X' }]).replace('"X"', deep),
    ];
    for (const text of texts) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const answer = await hub.putManifest('deep', text, OCI_INDEX);
      assertRefused(answer, 400, 'MANIFEST_INVALID');
    }
  }
});

test('annotations as large as a manifest may be are kept, and listed page by page', async () => {
  const subject = child('subject');
  const room = MANIFEST_MAX_BYTES - 1000;
  for (const fill of ['a', 'b']) {
    const bytes = indexOf([], { subject, annotations: { fill: fill.repeat(room) } });
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const pushed = await hub.putManifest(digestOf(Buffer.from(bytes)), bytes, OCI_INDEX);
    assert.equal(pushed.status, 201, pushed.body.toString());
  }
  let next = `/v2/team/app/referrers/${subject.digest}`;
  let listed = 0;
  while (next !== '') {
    // oxlint-disable-next-line no-await-in-loop -- each page names the next one
    const page = await hub.ask(next);
    assert.equal(page.status, 200);
    assert.ok(page.body.length <= MANIFEST_MAX_BYTES, `${page.body.length} bytes`);
    const { manifests }: { manifests: unknown[] } = JSON.parse(page.body.toString());
    listed += manifests.length;
    next = /^<([^>]+)>/.exec(String(page.headers['link'] ?? ''))?.[1] ?? '';
  }
  assert.equal(listed, 2);
});
