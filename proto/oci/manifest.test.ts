import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MANIFEST_VALUES_MAX } from './constants.ts';
import { digestOf } from './digest.ts';
import { DESCRIPTORS_MAX, isForeignLayer, MANIFEST_MAX_BYTES, parseManifest } from './manifest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  MANIFEST_ACCEPT,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-types.ts';

const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
const config = descriptor('application/vnd.oci.image.config.v1+json');
const layer = descriptor(LAYER_TYPE);
const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [descriptor(OCI_MANIFEST)] };

function descriptor(mediaType: string, more: object = {}): Record<string, unknown> {
  return { mediaType, digest: digestOf(Buffer.from(mediaType)), size: 7, ...more };
}

const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const read = (value: unknown, type?: string): unknown => parseManifest(bytesOf(value), type);

function refuses(value: unknown, why: RegExp, contentType?: string): void {
  const bytes = typeof value === 'string' ? Buffer.from(value) : bytesOf(value);
  const expected = { code: 'MANIFEST_INVALID', status: 400, message: why };
  assert.throws(() => parseManifest(bytes, contentType), expected);
}

test('every kind of manifest is read for what it is', () => {
  const subject = descriptor(OCI_MANIFEST);
  const annotations = { a: 'b', constructor: '' };
  assert.deepEqual(read({ ...image, subject, annotations, artifactType: 'a/b' }), {
    kind: 'image',
    mediaType: OCI_MANIFEST,
    artifactType: 'a/b',
    config,
    layers: [layer],
    manifests: [],
    subject,
    annotations,
  });
  const child = descriptor(OCI_MANIFEST, {
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    artifactType: 'a/b',
    annotations: { x: 'y' },
  });
  assert.deepEqual(read({ ...index, manifests: [child], subject: null }), {
    kind: 'index',
    mediaType: OCI_INDEX,
    layers: [],
    manifests: [child],
    annotations: {},
  });
  const docker = { ...image, mediaType: DOCKER_MANIFEST };
  assert.equal(parseManifest(bytesOf(docker), DOCKER_MANIFEST).kind, 'image');
  const list = { ...index, mediaType: DOCKER_LIST };
  assert.equal(parseManifest(bytesOf(list), `${DOCKER_LIST}; charset=utf-8`).kind, 'index');
  const artifact = parseManifest(bytesOf({ mediaType: OCI_ARTIFACT, blobs: [layer], subject }));
  assert.deepEqual([artifact.layers, artifact.subject], [[layer], subject]);
});

test('without mediaType the Content-Type decides, without that the content', () => {
  const plain = { schemaVersion: 2, config, layers: [] };
  assert.equal(parseManifest(bytesOf(plain)).mediaType, OCI_MANIFEST);
  assert.equal(parseManifest(bytesOf(plain), '').mediaType, OCI_MANIFEST);
  assert.equal(parseManifest(bytesOf(plain), DOCKER_MANIFEST).mediaType, DOCKER_MANIFEST);
  const children = { schemaVersion: 2, manifests: [] };
  assert.equal(parseManifest(bytesOf(children)).mediaType, OCI_INDEX);
});

test('a manifest that could be taken for another type is refused', () => {
  refuses(image, /differs from the Content-Type/, OCI_INDEX);
  refuses(image, /differs from the Content-Type/, 'application/json');
  refuses({ ...image, mediaType: undefined }, /manifests is missing|does not belong/, OCI_INDEX);
  refuses({ ...image, mediaType: undefined }, /not that of a manifest/, 'text/plain');
  refuses({ ...image, mediaType: LAYER_TYPE }, /not that of a manifest/);
  for (const key of ['manifests', 'blobs', 'fsLayers']) refuses({ ...image, [key]: [] }, /belong/);
  for (const key of ['layers', 'config', 'blobs']) refuses({ ...index, [key]: null }, /belong/);
  refuses({ mediaType: OCI_ARTIFACT, layers: [] }, /belong/);
  refuses({ ...image, Layers: [] }, /another spelling of layers/);
  refuses({ ...image, manifeſts: [] }, /another spelling of manifests/);
  refuses({ ...image, layers: [{ ...layer, DIGEST: 1 }] }, /layers\[0\]\.DIGEST is another/);
});

test('Docker schema 1 is refused as what it is', () => {
  const old = { schemaVersion: 1, name: 'a', tag: 'b', fsLayers: [], history: [] };
  assert.throws(() => read(old), { code: 'UNSUPPORTED', status: 400, message: /schema 1/ });
});

test('members that are missing or of the wrong type are named', () => {
  refuses([], /manifest is not an object/);
  refuses('null', /manifest is not an object/);
  refuses({ ...image, schemaVersion: '2' }, /schemaVersion/);
  refuses({ ...image, schemaVersion: 3 }, /schemaVersion/);
  refuses({ ...image, mediaType: 7 }, /mediaType is not text/);
  refuses({ ...image, config: null }, /config is missing/);
  refuses({ ...image, config: [] }, /config is not an object/);
  refuses({ ...image, layers: undefined }, /layers is missing/);
  refuses({ ...image, layers: {} }, /layers is not a list/);
  refuses({ ...image, layers: [layer, null] }, /layers\[1\] is not an object/);
  refuses({ ...index, manifests: undefined }, /manifests is missing/);
  refuses({ ...image, subject: 'x' }, /subject is not an object/);
  refuses({ ...image, artifactType: {} }, /artifactType is not text/);
  refuses({ ...image, artifactType: 'a/\0' }, /artifactType .* control characters/);
  refuses({ ...image, artifactType: 'a/'.repeat(128) }, /artifactType is too long/);
  refuses({ ...image, annotations: { a: 1 } }, /annotations\.a is not text/);
  refuses({ ...image, annotations: ['a'] }, /annotations is not an object/);
});

test('what is wrong with a descriptor is named', () => {
  const wrong: readonly [more: object, why: RegExp][] = [
    [{ mediaType: undefined }, /mediaType/],
    [{ mediaType: '' }, /mediaType/],
    [{ mediaType: 'a' }, /mediaType/],
    [{ mediaType: 'a/b\r\nx: y' }, /mediaType/],
    [{ mediaType: `a/${'b'.repeat(300)}` }, /mediaType/],
    [{ digest: undefined }, /digest/],
    [{ digest: 5 }, /digest is not text/],
    [{ digest: 'sha256:../../etc/passwd' }, /digest/],
    [{ digest: layer['digest']?.toString().toUpperCase() }, /digest/],
    [{ size: undefined }, /size/],
    [{ size: '7' }, /size/],
    [{ size: -1 }, /size/],
    [{ size: 0.5 }, /size/],
    [{ size: 2 ** 53 }, /size/],
    [{ urls: 'http://x' }, /urls is not a list/],
    [{ urls: [1] }, /urls holds something/],
    [{ platform: 'linux' }, /platform is not an object/],
    [{ platform: { os: 1 } }, /platform\.os is not text/],
    [{ annotations: { a: [] } }, /annotations\.a is not text/],
  ];
  for (const [more, why] of wrong) refuses({ ...image, layers: [{ ...layer, ...more }] }, why);
});

test('a size is written as a whole number, as decoders of integers want it', () => {
  const text = JSON.stringify(image);
  for (const size of ['7.0', '7e0', '1e3', '-0', '-7', '1e999', '9007199254740993', 'null']) {
    refuses(text.replaceAll('"size":7', `"size":${size}`), /size is not a whole number/);
  }
  assert.ok(parseManifest(Buffer.from(text.replaceAll('"size":7', '"size":0'))));
});

test('JSON that parsers read differently is refused', () => {
  const text = JSON.stringify(image);
  refuses(text.replace('"layers":', '"layers":[],"layers":'), /duplicate key/);
  refuses(text.replace('"size":7', '"size":7,"s\\u0069ze":8'), /duplicate key/);
  refuses(`\ufeff${text}`, /strict JSON/);
  refuses(`${text}{}`, /text after the value/);
  refuses(text.replace('}', `,"x":${'['.repeat(100)}${']'.repeat(100)}}`), /too deep/);
  const bytes = Buffer.concat([Buffer.from(text), Buffer.of(0xff)]);
  assert.throws(() => parseManifest(bytes), { code: 'MANIFEST_INVALID', message: /not UTF-8/ });
});

test('size and number of descriptors are bounded; at the bound all is well', () => {
  const many = Array.from({ length: DESCRIPTORS_MAX }, () => layer);
  assert.equal(parseManifest(bytesOf({ ...image, layers: many })).layers.length, DESCRIPTORS_MAX);
  refuses({ ...image, layers: [...many, layer] }, /at most 10000 descriptors/);
  const numbers = Array.from({ length: MANIFEST_VALUES_MAX }, () => 0);
  refuses({ ...image, numbers }, /too many values/);
  const room = MANIFEST_MAX_BYTES - bytesOf({ ...image, annotations: { a: '' } }).length;
  const full = { ...image, annotations: { a: 'x'.repeat(room) } };
  assert.equal(parseManifest(bytesOf(full)).annotations['a']?.length, room);
  const tooLarge = Buffer.concat([bytesOf(full), Buffer.from(' ')]);
  assert.throws(() => parseManifest(tooLarge), { code: 'MANIFEST_INVALID', status: 413 });
});

test('unknown members, data fields and empty lists are no fault', () => {
  const more = { data: 'e30=', custom: { deep: [1.5, true] } };
  const lists = { layers: null, annotations: null };
  assert.deepEqual(parseManifest(bytesOf({ ...image, ...more, ...lists })).layers, []);
  assert.ok(parseManifest(bytesOf({ ...image, config: { ...config, ...more, urls: null } })));
});

test('only the known types of foreign layers may be absent from the registry', () => {
  const foreign = [
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ];
  for (const mediaType of [...foreign, LAYER_TYPE, 'application/x.foreign.y']) {
    const { layers } = parseManifest(bytesOf({ ...image, layers: [descriptor(mediaType)] }));
    assert.deepEqual(layers.map(isForeignLayer), [foreign.includes(mediaType)], mediaType);
  }
});

test('a manifest that was read is read again from what was read of it', () => {
  const text = fc.string({ maxLength: 10 });
  const anyDescriptor = fc.record(
    {
      mediaType: fc.constantFrom(LAYER_TYPE, 'text/plain; charset=utf-8'),
      digest: fc.uint8Array({ maxLength: 4 }).map((bytes) => digestOf(bytes)),
      size: fc.nat(),
      urls: fc.array(text, { maxLength: 2 }),
      annotations: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
    },
    { requiredKeys: ['mediaType', 'digest', 'size'], noNullPrototype: true },
  );
  const descriptors = fc.array(anyDescriptor, { maxLength: 5 });
  fc.assert(
    fc.property(fc.constantFrom(...MANIFEST_ACCEPT), descriptors, (mediaType, list) => {
      const isIndex = mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
      const key = isIndex ? 'manifests' : mediaType === OCI_ARTIFACT ? 'blobs' : 'layers';
      const own = { schemaVersion: 2, mediaType, [key]: list };
      const rest = key === 'layers' ? { config } : {};
      const parsed = parseManifest(bytesOf({ ...own, ...rest }), mediaType);
      assert.deepEqual([...parsed.layers, ...parsed.manifests], list);
    }),
  );
});
