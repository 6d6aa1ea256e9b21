import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { foreignOf, manifestOf, MANIFEST_TYPE } from './fixture-images.ts';
import { RightsBook } from './rights.ts';
import { StallBook } from './stalls.ts';

const PLACE = { namespace: 'hub', repository: 'a' };
const LAYER = digestOf(Buffer.from('layer'));
const MANIFEST = parseManifest(Buffer.from(JSON.stringify(manifestOf([Buffer.from('layer')]))));
const CHILD = digestOf(Buffer.from('child'));
const INDEX = parseManifest(
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [{ mediaType: MANIFEST_TYPE, digest: CHILD, size: 5 }],
    }),
  ),
);
const FOREIGN = parseManifest(Buffer.from(JSON.stringify(foreignOf([Buffer.from('layer')]))));
const SELF = digestOf(Buffer.from('manifest'));

const NOBODY = { authorization: undefined, mayRead: false };
const shown = (authorization: string) => ({ authorization, mayRead: false });

function rights(options: { max?: number } = {}) {
  const clock = { nowMs: 1 };
  const book = new RightsBook({ max: options.max ?? 100, ttlMs: 1_000, now: () => clock.nowMs });
  return { book, clock };
}

test('a manifest gives the right to what it references, in its place only', () => {
  const { book } = rights();
  book.learn(PLACE, SELF, MANIFEST, undefined);
  assert.equal(book.covers(PLACE, LAYER, NOBODY), true);
  assert.equal(book.covers(PLACE, SELF, NOBODY), true);
  assert.equal(book.covers({ ...PLACE, repository: 'b' }, LAYER, NOBODY), false);
  assert.equal(book.covers({ ...PLACE, namespace: 'docker.io' }, LAYER, NOBODY), false);
});

test('rights end', () => {
  const { book, clock } = rights();
  book.learn(PLACE, SELF, MANIFEST, undefined);
  clock.nowMs += 1_001;
  assert.equal(book.covers(PLACE, LAYER, NOBODY), false);
});

test('a reader with credentials does not prolong what was open', () => {
  const { book, clock } = rights();
  book.learn(PLACE, SELF, MANIFEST, undefined);
  clock.nowMs += 900;
  book.learn(PLACE, SELF, MANIFEST, 'Basic a');
  assert.equal(book.covers(PLACE, LAYER, NOBODY), true);
  clock.nowMs += 200;
  assert.equal(book.covers(PLACE, LAYER, NOBODY), false);
});

test('a foreign layer gives no right: its registry has not seen it', () => {
  const { book } = rights();
  book.learn(PLACE, SELF, FOREIGN, undefined);
  book.inherit(PLACE, SELF, FOREIGN);
  assert.equal(book.covers(PLACE, LAYER, NOBODY), false);
});

test('a right that came out of the book ends with the one it came out of', () => {
  const { book, clock } = rights();
  book.learn(PLACE, SELF, INDEX, undefined);
  clock.nowMs += 900;
  book.inherit(PLACE, CHILD, MANIFEST);
  assert.equal(book.covers(PLACE, LAYER, NOBODY), true);
  clock.nowMs += 200;
  book.inherit(PLACE, CHILD, MANIFEST);
  assert.equal(book.covers(PLACE, LAYER, NOBODY), false);
  assert.equal(book.coversManifest(PLACE, CHILD, NOBODY), false);
});

test('what an upstream gave for credentials is for those who show the same', () => {
  const { book } = rights();
  const place = { ...PLACE, namespace: 'docker.io' };
  book.learn(place, SELF, MANIFEST, 'Basic a');
  assert.equal(book.covers(place, LAYER, shown('Basic a')), true);
  assert.equal(book.covers(place, LAYER, shown('Basic b')), false);
  assert.equal(book.covers(place, LAYER, NOBODY), false);
});

test('what the hub gave for credentials is for those who may read it now', () => {
  const { book } = rights();
  book.learn(PLACE, SELF, MANIFEST, 'Bearer a');
  assert.equal(book.covers(PLACE, LAYER, shown('Bearer a')), false, 'it may have ended');
  assert.equal(book.covers(PLACE, LAYER, { ...shown('Bearer b'), mayRead: true }), true);
  assert.equal(book.covers(PLACE, LAYER, NOBODY), false);
});

test('the book of rights is bounded', () => {
  const { book } = rights({ max: 5 });
  for (let index = 0; index < 50; index += 1) {
    book.learn({ ...PLACE, repository: `r${index}` }, SELF, MANIFEST, undefined);
  }
  assert.equal(book.covers({ ...PLACE, repository: 'r0' }, LAYER, NOBODY), false);
  assert.equal(book.covers({ ...PLACE, repository: 'r49' }, LAYER, NOBODY), true);
});

test('a stalled digest is refused until bytes arrive or time passes', () => {
  const clock = { nowMs: 1 };
  const progress = { bytes: 3 };
  const book = new StallBook({
    max: 10,
    memoryMs: 1_000,
    progressOf: () => progress.bytes,
    now: () => clock.nowMs,
  });
  assert.equal(book.isStalled(LAYER), false);
  book.mark(LAYER);
  assert.equal(book.isStalled(LAYER), true);
  progress.bytes = 4;
  assert.equal(book.isStalled(LAYER), false, 'progress');
  book.mark(LAYER);
  clock.nowMs += 1_000;
  assert.equal(book.isStalled(LAYER), false, 'time');
});

test('the memory of stalls is bounded and forgets the oldest', () => {
  const book = new StallBook({ max: 2, memoryMs: 1_000, progressOf: () => 0, now: () => 0 });
  const digests = ['a', 'b', 'c'].map((text) => digestOf(Buffer.from(text)));
  for (const digest of digests) book.mark(digest);
  assert.deepEqual(
    digests.map((digest) => book.isStalled(digest)),
    [false, true, true],
  );
  assert.equal(book.size, 2);
});
